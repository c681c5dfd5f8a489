"""The access log: one line a call, with method, code, duration and client, as for HTTP requests.

A stream's line is written when it is over, and its duration is how long it was open. Outside
`recover`, so that the line has the code that was really sent.

A log for people gets a line of text instead of a record, as for HTTP requests.
"""

from collections.abc import Collection
from typing import Final

from paceline.edge import AccessLines, AccessLog, EndedRequest, Grade, access_lines
from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.interceptors.observe import observed
from paceline.log import Logger

_NAMES: Final = [code.name for code in Code]  # before Python 3.12 `name` runs Python code


def access_log(log: Logger, *, debug_paths: Collection[str] = ()) -> Interceptor:
    """Log each call once, when it has ended; methods of ``debug_paths`` at debug level."""
    if (text := access_lines(log, debug_paths)) is not None:
        return _lines_of_text(text)
    lines = AccessLog(
        log, "call completed", "method", "code", "duration_ms", "client", debug_paths=debug_paths
    )

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        write = lines.by_path.get(method.path, lines.default)

        def write_line(call: Call, code: Code, seconds: float) -> None:
            if call.unlogged:
                return
            write(call.method.path, _NAMES[code], round(seconds * 1000, 3), call.client)

        return observed(endpoint, write_line)

    return wrap


def _lines_of_text(lines: AccessLines) -> Interceptor:
    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        _, _, target = method.path.rpartition(".")  # "/package.v1.Service/Method" without package

        def write(call: Call, code: Code, seconds: float) -> None:
            if call.unlogged:
                return
            lines.write(
                method.path,
                EndedRequest(
                    "grpc",
                    target,
                    code.name,
                    _grade(code, failed=bool(call.failures)),
                    seconds,
                    call.caller.subject if call.is_authenticated else "",
                    call.request_id,
                    call.failures[-1] if call.failures else None,
                ),
            )

        def begin(call: Call) -> None:
            call.failures = []

        return observed(endpoint, write, begin)

    return wrap


def _grade(code: Code, *, failed: bool) -> Grade:
    if failed:
        return "failed"
    return "ok" if code is Code.OK else "refused"
