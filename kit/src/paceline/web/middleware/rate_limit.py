"""RateLimit: so many requests a second for each principal, or for each address without one.

Refused requests get 429 with ``Retry-After``; every answer carries ``RateLimit-Limit``,
``RateLimit-Remaining`` and ``RateLimit-Reset`` (draft-ietf-httpapi-ratelimit-headers-06, the form
with three headers, in whole requests and seconds), so a polite client can pace itself. Put it
after `authenticate`, or it only sees addresses. The bucket itself is ``paceline.limit``.
"""

from collections.abc import Awaitable
from math import ceil

from paceline.errors import Code
from paceline.limit import Decision, RateLimiter
from paceline.web.asgi import ASGIApp, Headers, Middleware, Receive, Scope, Send
from paceline.web.endpoint import PRINCIPAL
from paceline.web.problem import HttpError
from paceline.web.tracking import track


def rate_limit(limiter: RateLimiter) -> Middleware:
    """Let ``limiter`` decide about each request."""

    def wrap(app: ASGIApp) -> ASGIApp:
        def limited(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            decision = limiter.take(_key(scope))
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
            return app(scope, receive, send)

        return limited

    return wrap


def _key(scope: Scope) -> str:
    principal = scope.get(PRINCIPAL)
    if principal is not None:
        return f"principal {principal.subject}"
    client: tuple[str, int] | None = scope.get("client")
    return f"address {client[0] if client else 'unknown'}"


def _headers(decision: Decision) -> Headers:
    return [
        (b"ratelimit-limit", b"%d" % int(decision.limit)),
        (b"ratelimit-remaining", b"%d" % decision.remaining),
        (b"ratelimit-reset", b"%d" % ceil(decision.reset_after)),
    ]
