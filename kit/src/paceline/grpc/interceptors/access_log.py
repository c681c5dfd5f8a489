"""Logging: one line a call, with method, code, duration and client, as for HTTP requests.

A stream's line comes when it is over, and its duration is how long it was open. A client that went
away is CANCELLED, or DEADLINE_EXCEEDED when its own deadline was over. Methods in ``quiet``
(probes) are logged at debug level. Outside `recover`, so it sees the code that is really sent.
"""

import asyncio
from collections.abc import Collection
from time import perf_counter
from typing import Final

from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.log import Logger, record_writer

_EVENT: Final = "call completed"
_FIELDS: Final = ("method", "code", "duration_ms", "client")


def access_log(log: Logger, *, quiet: Collection[str] = ()) -> Interceptor:
    """Log each call once, when it is over. ``quiet``: paths, "/package.Service/Method"."""
    hushed = frozenset(quiet)
    info = record_writer(log, "info", _EVENT, *_FIELDS)
    debug = record_writer(log, "debug", _EVENT, *_FIELDS)

    def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
        write = debug if method.path in hushed else info

        async def logged(call: Call) -> bytes | None:
            started = perf_counter()
            code = Code.INTERNAL
            try:
                reply = await endpoint(call)
            except asyncio.CancelledError:
                code = call.cut_off
                raise
            else:
                code = call.outcome
                return reply
            finally:
                duration = round((perf_counter() - started) * 1000, 3)
                write(call.method.path, code.name, duration, call.client)

        return logged

    return wrap
