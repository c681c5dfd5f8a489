"""Logging: one line a request, with method, path, status, bytes and duration.

The path is logged without its query, which may hold what should not be kept. A client that went
away is status 499. Paths in ``quiet`` (probes) are logged at debug level. Outside the recover
middleware, so it sees the status that was really sent.
"""

from collections.abc import Collection
from time import perf_counter
from typing import Final

from paceline.log import Logger
from paceline.web.asgi import ASGIApp, Middleware, Receive, Scope, Send
from paceline.web.tracking import track

_CLIENT_CLOSED_REQUEST: Final = 499


def access_log(log: Logger, *, quiet: Collection[str] = ()) -> Middleware:
    """Log each request once, when it is over."""
    hushed = frozenset(quiet)

    def wrap(app: ASGIApp) -> ASGIApp:
        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            started = perf_counter()
            tracked, send = track(scope, send)
            otherwise = _CLIENT_CLOSED_REQUEST
            try:
                await app(scope, receive, send)
            except Exception:
                otherwise = 500
                raise
            finally:
                path: str = scope["path"]
                client: tuple[str, int] | None = scope.get("client")
                (log.debug if path in hushed else log.info)(
                    "request completed",
                    method=scope["method"],
                    path=path,
                    status=tracked.status or otherwise,
                    bytes=tracked.size,
                    duration_ms=round((perf_counter() - started) * 1000, 3),
                    client=client[0] if client else None,
                )

        return logged

    return wrap
