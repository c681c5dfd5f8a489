"""Rate limit: so many requests a second for each principal, or for each address without one.

A request beyond the limit gets 429 with ``Retry-After``. Every answer carries ``RateLimit-Limit``,
``RateLimit-Remaining`` and ``RateLimit-Reset`` (draft-ietf-httpapi-ratelimit-headers-06, the form
with three headers, in whole requests and seconds), so that a client can pace itself. Inside
`authenticate`, or there are only addresses. A limiter that replicas share answers with an
awaitable, which only its own requests pay for.
"""

from collections.abc import Awaitable, Sequence
from math import ceil

from paceline.edge import RateLimited, rate_limit_key
from paceline.http.asgi import (
    PRINCIPAL,
    ASGIApp,
    Headers,
    Middleware,
    Receive,
    Scope,
    Send,
    needed_scopes,
)
from paceline.http.problem import HttpError
from paceline.http.response_tracker import track_response
from paceline.resilience import RateLimitDecision, RateLimits


def rate_limit(limits: RateLimits) -> Middleware:
    """Take each request from its bucket of ``limits``."""

    def wrap(app: ASGIApp) -> ASGIApp:
        def limited(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            limit = limits.limit_for(needed_scopes(scope))
            if limit is None:
                return app(scope, receive, send)
            prefix, limiter = limit
            client: tuple[str, int] | None = scope.get("client")
            key = rate_limit_key(scope.get(PRINCIPAL), client[0] if client else None)
            decision = limiter.take(prefix + key)
            if isinstance(decision, RateLimitDecision):
                return app(scope, receive, _with_headers(decision, scope, send))
            return decided_later(decision, scope, receive, send)

        async def decided_later(
            decision: Awaitable[RateLimitDecision], scope: Scope, receive: Receive, send: Send
        ) -> None:
            await app(scope, receive, _with_headers(await decision, scope, send))

        return limited

    return wrap


def _with_headers(decision: RateLimitDecision, scope: Scope, send: Send) -> Send:
    """A ``send`` that adds what is left of the limit. Errors: HttpError(429)."""
    if not decision.allowed:
        raise too_many_requests(RateLimited(decision.retry_after), _headers(decision))
    response, send = track_response(scope, send)
    response.headers += _headers(decision)
    return send


def too_many_requests(exc: RateLimited, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpError:
    """The answer to a request beyond a limit: 429 with ``Retry-After`` and ``headers``."""
    retry_after = (b"retry-after", b"%d" % max(1, ceil(exc.retry_after)))
    return HttpError(429, exc.message, code=exc.code, headers=[retry_after, *headers])


def _headers(decision: RateLimitDecision) -> Headers:
    return [
        (b"ratelimit-limit", b"%d" % int(decision.limit)),
        (b"ratelimit-remaining", b"%d" % decision.remaining),
        (b"ratelimit-reset", b"%d" % ceil(decision.reset_after)),
    ]
