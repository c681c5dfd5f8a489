"""Logging: one line a request, with method, path, status, bytes and duration.

The path is logged without its query, which may hold what should not be kept. A client that went
away is status 499. Paths in ``quiet`` (probes) are logged at debug level. Outside the recover
middleware, so it sees the status that was really sent.
"""

from collections.abc import Collection
from time import perf_counter
from typing import Final

from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send
from paceline.http.tracking import track
from paceline.log import Logger, record_writer

_CLIENT_CLOSED_REQUEST: Final = 499
_EVENT: Final = "request completed"
_FIELDS: Final = ("method", "path", "status", "bytes", "duration_ms", "client")


def access_log(log: Logger, *, quiet: Collection[str] = ()) -> Middleware:
    """Log each request once, when it is over."""
    hushed = frozenset(quiet)
    info = record_writer(log, "info", _EVENT, *_FIELDS)
    debug = record_writer(log, "debug", _EVENT, *_FIELDS)

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
                (debug if path in hushed else info)(
                    scope["method"],
                    path,
                    tracked.status or otherwise,
                    tracked.size,
                    round((perf_counter() - started) * 1000, 3),
                    client[0] if client else None,
                )

        return logged

    return wrap
