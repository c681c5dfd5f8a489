"""What is known of a call when it has ended, for its metrics and its log line.

`access_log` and `metrics` want the same: the code that was really sent and the duration, whatever
way the call ended. A client that disconnected is CANCELLED, or DEADLINE_EXCEEDED when its own
deadline had passed.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final, TypeAlias

from paceline.errors import Code
from paceline.grpc.call import Call, Endpoint

_OK: Final = Code.OK  # before Python 3.12 looking a member up runs Python code

OnBegin: TypeAlias = Callable[[Call], None]
"""Called with the call."""
OnEnd: TypeAlias = Callable[[Call, Code, float], None]
"""Called with the call, its code and the seconds that it took."""


class Observed:
    """An endpoint whose calls are observed; what observes them next to each other is called in one.

    That spares each call a coroutine and two looks at the clock.
    """

    __slots__ = ("_begins", "_endpoint", "_ends")

    def __init__(
        self, endpoint: Endpoint, begins: tuple[OnBegin, ...], ends: tuple[OnEnd, ...]
    ) -> None:
        self._endpoint = endpoint
        self._begins = begins
        self._ends = ends

    def around(self, on_begin: OnBegin | None, on_end: OnEnd) -> "Observed":
        """The same, observed by one more, the outermost."""
        begins = self._begins if on_begin is None else (on_begin, *self._begins)
        return Observed(self._endpoint, begins, (*self._ends, on_end))

    async def __call__(self, call: Call) -> bytes | None:
        """Run the endpoint."""
        for on_begin in self._begins:
            on_begin(call)
        started = perf_counter()
        code = Code.INTERNAL
        try:
            reply = await self._endpoint(call)
        except asyncio.CancelledError:
            code = call.cancelled_code
            raise
        else:
            error = call.error
            code = _OK if error is None else error.code
            return reply
        finally:
            seconds = perf_counter() - started
            for on_end in self._ends:
                on_end(call, code, seconds)


def observed(endpoint: Endpoint, on_end: OnEnd, on_begin: OnBegin | None = None) -> Endpoint:
    """Call ``on_end`` once for each call of ``endpoint``, however it ends."""
    inner = endpoint if isinstance(endpoint, Observed) else Observed(endpoint, (), ())
    return inner.around(on_begin, on_end)
