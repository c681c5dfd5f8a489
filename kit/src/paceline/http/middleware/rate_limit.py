"""RateLimit: so many requests a second for each principal, or for each address without one.

Refused requests get 429 with ``Retry-After``; every answer carries ``RateLimit-Limit``,
``RateLimit-Remaining`` and ``RateLimit-Reset`` (draft-ietf-httpapi-ratelimit-headers-06, the form
with three headers, in whole requests and seconds), so a polite client can pace itself. Put it after
`authenticate`, or it only sees addresses. Which bucket an operation is counted in, and the bucket
itself, is ``paceline.resilience.rate_limit``'s. One that replicas share answers with an awaitable,
for which only its own requests pay.
"""

from collections.abc import Awaitable
from math import ceil

from paceline.errors import Code
from paceline.http.asgi import ASGIApp, Headers, Middleware, Receive, Scope, Send, needed_scopes
from paceline.http.endpoint import PRINCIPAL
from paceline.http.problem import HttpError
from paceline.http.tracking import track
from paceline.resilience import RateLimitDecision, RateLimits


def rate_limit(limits: RateLimits) -> Middleware:
    """Let ``limits`` decide about each request."""

    def wrap(app: ASGIApp) -> ASGIApp:
        def limited(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            limit = limits.limit_for(needed_scopes(scope))
            if limit is None:
                return app(scope, receive, send)
            prefix, limiter = limit
            decision = limiter.take(f"{prefix}{_key(scope)}")
            if isinstance(decision, RateLimitDecision):
                return app(scope, receive, _admitted(decision, scope, send))
            return limited_later(decision, scope, receive, send)

        async def limited_later(
            decision: Awaitable[RateLimitDecision], scope: Scope, receive: Receive, send: Send
        ) -> None:
            await app(scope, receive, _admitted(await decision, scope, send))

        return limited

    return wrap


def _admitted(decision: RateLimitDecision, scope: Scope, send: Send) -> Send:
    """The ``send`` that tells the caller what is left. Errors: 429."""
    if not decision.allowed:
        raise HttpError(
            429,
            "too many requests, slow down",
            code=Code.RESOURCE_EXHAUSTED,
            headers=[
                (b"retry-after", b"%d" % max(1, ceil(decision.retry_after))),
                *_headers(decision),
            ],
        )
    tracked, send = track(scope, send)
    tracked.headers += _headers(decision)
    return send


def _key(scope: Scope) -> str:
    principal = scope.get(PRINCIPAL)
    if principal is not None:
        return f"principal {principal.subject}"
    client: tuple[str, int] | None = scope.get("client")
    return f"address {client[0] if client else 'unknown'}"


def _headers(decision: RateLimitDecision) -> Headers:
    return [
        (b"ratelimit-limit", b"%d" % int(decision.limit)),
        (b"ratelimit-remaining", b"%d" % decision.remaining),
        (b"ratelimit-reset", b"%d" % ceil(decision.reset_after)),
    ]
