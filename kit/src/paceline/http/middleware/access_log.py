"""The access log: one line a request, with method, path, status, bytes, duration and client.

The path is logged without its query, which may hold what should not be kept. A client that
disconnected is status 499. Outside `recover`, so that the line has the status that was really sent.
"""

from collections.abc import Collection

from paceline.edge import AccessLog
from paceline.http.asgi import ASGIApp, Middleware, Scope
from paceline.http.middleware.observe import observed
from paceline.log import Logger


def access_log(log: Logger, *, debug_paths: Collection[str] = ()) -> Middleware:
    """Log each request once, when it has ended; ``debug_paths`` (probes) at debug level."""
    lines = AccessLog(
        log, "request completed", "method", "path", "status", "bytes", "duration_ms", "client",
        debug_paths=debug_paths,
    )  # fmt: skip
    writer_of, default = lines.by_path.get, lines.default

    def write(scope: Scope, status: int, size: int, seconds: float) -> None:
        path: str = scope["path"]
        client: tuple[str, int] | None = scope.get("client")
        address = client[0] if client else None
        write_line = writer_of(path, default)
        write_line(scope["method"], path, status, size, round(seconds * 1000, 3), address)

    def wrap(app: ASGIApp) -> ASGIApp:
        return observed(app, write)

    return wrap
