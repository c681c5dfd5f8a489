"""The HTTP server: listener, HTTP/1.1 connections, limits and graceful stop.

Any ASGI application runs on it.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.http.server.listener import bind, cannot_listen
    from paceline.http.server.server import HttpServer
else:
    __getattr__ = lazy_exports(
        __name__,
        {"HttpServer": "server", "bind": "listener", "cannot_listen": "listener"},
    )

__all__ = ["HttpServer", "bind", "cannot_listen"]
