"""Logging: one line a request, with method, path, status, bytes and duration.

The path is logged without its query, which may hold what should not be kept. A client that went
away is status 499. Paths in ``quiet`` (probes) are logged at debug level. Outside the recover
middleware, so it sees the status that was really sent.
"""

import asyncio
from collections.abc import Collection
from time import perf_counter
from typing import Final

from paceline.log import Logger
from paceline.web.asgi import ASGIApp, Message, Middleware, Receive, Scope, Send

_CLIENT_CLOSED_REQUEST: Final = 499


def access_log(log: Logger, *, quiet: Collection[str] = ()) -> Middleware:
    """Log each request once, when it is over."""
    hushed = frozenset(quiet)

    def wrap(app: ASGIApp) -> ASGIApp:
        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            started = perf_counter()
            status = 0
            size = 0

            async def counting_send(message: Message) -> None:
                nonlocal status, size
                if message["type"] == "http.response.start":
                    status = message["status"]
                else:
                    size += len(message.get("body", b""))
                await send(message)

            try:
                await app(scope, receive, counting_send)
            except asyncio.CancelledError:
                status = _CLIENT_CLOSED_REQUEST
                raise
            except Exception:
                status = status or 500
                raise
            finally:
                path: str = scope["path"]
                client: tuple[str, int] | None = scope.get("client")
                (log.debug if path in hushed else log.info)(
                    "request completed",
                    method=scope["method"],
                    path=path,
                    status=status or _CLIENT_CLOSED_REQUEST,
                    bytes=size,
                    duration_ms=round((perf_counter() - started) * 1000, 3),
                    client=client[0] if client else None,
                )

        return logged

    return wrap
