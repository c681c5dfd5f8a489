"""The access log: one line a request, with method, path, status, bytes, duration and client.

The path is logged without its query, which may hold what should not be kept. A client that
disconnected is status 499. Outside `recover`, so that the line has the status that was really sent.

A log for people gets a line of text instead of a record, and below it what the request raised,
which `recover` then leaves to this.
"""

from collections.abc import Collection
from typing import Final

from paceline.edge import AccessLines, AccessLog, Caller, EndedRequest, Grade, access_lines
from paceline.http.asgi import (
    FAILURE,
    PRINCIPAL,
    REQUEST_ID,
    UNLOGGED,
    ASGIApp,
    Middleware,
    Scope,
)
from paceline.http.middleware.observe import observed
from paceline.log import Logger

_TOO_MANY_REQUESTS: Final = 429
_GRADES: Final[dict[int, Grade]] = {1: "ok", 2: "ok", 3: "moved", 4: "refused"}


def access_log(log: Logger, *, debug_paths: Collection[str] = ()) -> Middleware:
    """Log each request once, when it has ended; ``debug_paths`` (probes) at debug level."""
    if (text := access_lines(log, debug_paths)) is not None:
        return _lines_of_text(text)
    lines = AccessLog(
        log, "request completed", "method", "path", "status", "bytes", "duration_ms", "client",
        debug_paths=debug_paths,
    )  # fmt: skip
    writer_of, default = lines.by_path.get, lines.default

    def write(scope: Scope, status: int, size: int, seconds: float) -> None:
        if status == _TOO_MANY_REQUESTS and UNLOGGED in scope:
            return
        path: str = scope["path"]
        client: tuple[str, int] | None = scope.get("client")
        address = client[0] if client else None
        write_line = writer_of(path, default)
        write_line(scope["method"], path, status, size, int(seconds * 1e6 + 0.5) / 1000, address)

    def wrap(app: ASGIApp) -> ASGIApp:
        return observed(app, write)

    return wrap


def _lines_of_text(lines: AccessLines) -> Middleware:
    def begin(scope: Scope) -> None:
        scope[FAILURE] = None

    def write(scope: Scope, status: int, _size: int, seconds: float) -> None:
        if status == _TOO_MANY_REQUESTS and UNLOGGED in scope:
            return
        caller: Caller | None = scope.get(PRINCIPAL)
        lines.write(
            scope["path"],
            EndedRequest(
                scope["method"],
                scope["path"],
                str(status),
                _GRADES.get(status // 100, "failed"),
                seconds,
                "" if caller is None else caller.subject,
                scope.get(REQUEST_ID, ""),
                scope[FAILURE],
            ),
        )

    def wrap(app: ASGIApp) -> ASGIApp:
        return observed(app, write, begin)

    return wrap
