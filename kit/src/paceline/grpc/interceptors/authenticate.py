"""Authentication and scopes: a bearer token becomes the call's caller.

The token is in the metadata ``authorization``. A public method needs none; any other needs a valid
token with all of its scopes. A stream ends with UNAUTHENTICATED when its token expires or its key
is gone, or it would outlive every revocation. Handlers read `Call.caller`: identity is never
ambient.
"""

import asyncio
from collections.abc import Awaitable

from paceline.clock import Clock
from paceline.edge import (
    RECHECK_INTERVAL,
    Caller,
    FailureLimit,
    TokenVerifier,
    TooManyFailures,
    identify,
    recall,
    token_watched,
)
from paceline.errors import PermissionDenied, Unauthorized
from paceline.grpc.call import Call, Endpoint, Interceptor, Method


def authenticate(
    verifier: TokenVerifier,
    clock: Clock,
    failures: FailureLimit | None = None,
    *,
    recheck: float = RECHECK_INTERVAL,
) -> Interceptor:
    """Refuse calls without a token that ``verifier`` accepts and that has the method's scopes.

    ``failures``: how many an address may have; beyond it is RESOURCE_EXHAUSTED, with no line in the
    access log. ``recheck``: seconds between two looks whether the token of an open stream is still
    accepted.
    """

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        if method.public:
            return endpoint

        def verify(call: Call) -> Caller:
            try:
                authorization = call.header(b"authorization")
                caller = recall(verifier, authorization) or identify(
                    verifier, authorization, call.client, failures
                )
            except TooManyFailures:
                call.unlogged = True
                raise
            if not method.scopes <= caller.scopes:
                missing = ", ".join(sorted(method.scopes - caller.scopes))
                raise PermissionDenied(f"the token lacks the scope {missing}")
            call.caller = caller
            return caller

        def authenticated(call: Call) -> Awaitable[bytes | None]:
            verify(call)
            return endpoint(call)

        async def authenticated_stream(call: Call) -> bytes | None:
            seconds = verify(call).expires_at - clock.time()
            return await _while_accepted(endpoint, call, verifier, seconds, recheck)

        return authenticated_stream if method.streams else authenticated

    return wrap


async def _while_accepted(
    endpoint: Endpoint, call: Call, verifier: TokenVerifier, seconds: float, recheck: float
) -> bytes | None:
    """A stream that lasts ``seconds`` at most, and no longer than its token is accepted."""
    timeout = asyncio.timeout(seconds)
    reason = "has expired"

    def end() -> None:
        nonlocal reason
        if not timeout.expired():
            reason = "is not accepted any more"
            timeout.reschedule(0.0)

    authorization = call.header(b"authorization")
    try:
        async with timeout:
            with token_watched(verifier, authorization, end, interval=recheck):
                return await endpoint(call)
    except TimeoutError as exc:
        if not timeout.expired():
            raise
        raise Unauthorized(f"the token {reason}") from exc
