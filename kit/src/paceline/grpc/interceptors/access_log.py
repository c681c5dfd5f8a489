"""The access log: one line a call, with method, code, duration and client, as for HTTP requests.

A stream's line is written when it is over, and its duration is how long it was open. Outside
`recover`, so that the line has the code that was really sent.
"""

from collections.abc import Collection

from paceline.edge import AccessLog
from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.interceptors.observe import observed
from paceline.log import Logger


def access_log(log: Logger, *, debug_paths: Collection[str] = ()) -> Interceptor:
    """Log each call once, when it has ended; methods of ``debug_paths`` at debug level."""
    lines = AccessLog(
        log, "call completed", "method", "code", "duration_ms", "client", debug_paths=debug_paths
    )

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        write = lines.by_path.get(method.path, lines.default)

        def write_line(call: Call, code: Code, seconds: float) -> None:
            write(call.method.path, code.name, round(seconds * 1000, 3), call.client)

        return observed(endpoint, write_line)

    return wrap
