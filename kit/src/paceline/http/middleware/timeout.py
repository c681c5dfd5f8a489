"""Timeout: a request that outlives its deadline gets 504.

The deadline is the service's or the client's, whichever is shorter; see ``paceline.edge``. A stream
(`Events`) lifts it once it has begun. Inside `recover`, which sends the answer.
"""

from paceline.edge import TIMEOUT_HEADERS, RequestDeadline
from paceline.http.asgi import (
    LIFT_DEADLINE,
    ASGIApp,
    Middleware,
    Receive,
    Scope,
    Send,
    headers_of,
)


def timeout(seconds: float, *, set_by: str | None = None) -> Middleware:
    """Bound each request. ``set_by``: for errors, "the service (APP_REQUEST_TIMEOUT)"."""
    deadline = RequestDeadline(seconds, "the request", set_by=set_by)

    def wrap(app: ASGIApp) -> ASGIApp:
        async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
            headers = headers_of(scope)
            default = headers.keys().isdisjoint(TIMEOUT_HEADERS)
            with deadline.block() if default else deadline.block_from(headers) as block:
                scope[LIFT_DEADLINE] = block.disable
                await app(scope, receive, send)

        return bounded

    return wrap
