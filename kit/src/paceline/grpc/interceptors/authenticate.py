"""Authentication and scopes: a bearer token in, a caller on the call.

The token comes in the metadata ``authorization``. What a method declared decides: a public one asks
for nothing, any other needs a good token with all of its scopes. A stream ends with
UNAUTHENTICATED when its token expires, for it would otherwise outlive every revocation. Identity
is never ambient: handlers read `Call.caller`. What verifies tokens is the caller's:
``paceline.auth`` has one.
"""

import asyncio
from typing import Protocol

from paceline.clock import Clock
from paceline.errors import PermissionDenied, Unauthorized
from paceline.grpc.call import Call, Caller, Endpoint, Interceptor, Method


class TokenVerifier(Protocol):
    """What knows which tokens are good."""

    def verify(self, token: str) -> Caller:
        """Who the token speaks for. Errors: Unauthorized."""
        ...


def authenticate(verifier: TokenVerifier, clock: Clock) -> Interceptor:
    """Let only calls with a good bearer token through."""

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        if method.public:
            return endpoint

        def admit(call: Call) -> Caller:
            caller = verifier.verify(_bearer_token(call))
            if not method.scopes <= caller.scopes:
                missing = ", ".join(sorted(method.scopes - caller.scopes))
                raise PermissionDenied(f"the token lacks the scope {missing}")
            call.caller = caller
            return caller

        async def authenticated(call: Call) -> bytes | None:
            admit(call)
            return await endpoint(call)

        async def authenticated_stream(call: Call) -> bytes | None:
            timeout = asyncio.timeout(admit(call).expires_at - clock.time())
            try:
                async with timeout:
                    return await endpoint(call)
            except TimeoutError as exc:
                if not timeout.expired():
                    raise
                raise Unauthorized("the token has expired") from exc

        return authenticated_stream if method.streams else authenticated

    return wrap


def _bearer_token(call: Call) -> str:
    value = call.metadata.get("authorization")
    if value is None:
        raise Unauthorized("this needs a bearer token: send authorization: Bearer <token>")
    if isinstance(value, str):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    raise Unauthorized("one authorization of the form: Bearer <token>")
