"""The HTTP server: listener, HTTP/1.1 connections, limits and graceful stop.

Any ASGI application runs on it.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.http.server.limits import ServerLimits
    from paceline.http.server.listener import bind_socket, listen_error
    from paceline.http.server.server import HttpServer
    from paceline.http.server.state import AdmissionCheck
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AdmissionCheck": "state",
            "HttpServer": "server",
            "ServerLimits": "limits",
            "bind_socket": "listener",
            "listen_error": "listener",
        },
    )

__all__ = ["AdmissionCheck", "HttpServer", "ServerLimits", "bind_socket", "listen_error"]
