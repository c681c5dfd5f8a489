"""What is known of a call when it has ended, for its metrics and its log line.

`access_log` and `metrics` want the same: the code that was really sent and the duration, whatever
way the call ended. A client that disconnected is CANCELLED, or DEADLINE_EXCEEDED when its own
deadline had passed.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint

OnEnd: TypeAlias = Callable[[Call, Code, float], None]
"""Called with the call, its code and the seconds that it took."""


def observed(endpoint: Endpoint, on_end: OnEnd) -> Endpoint:
    """Call ``on_end`` once for each call of ``endpoint``, however it ends."""

    async def observe(call: Call) -> bytes | None:
        started = perf_counter()
        code = Code.INTERNAL
        try:
            reply = await endpoint(call)
        except asyncio.CancelledError:
            code = call.cancelled_code
            raise
        else:
            code = call.outcome
            return reply
        finally:
            on_end(call, code, perf_counter() - started)

    return observe
