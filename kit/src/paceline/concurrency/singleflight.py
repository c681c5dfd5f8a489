"""Single flight: calls with an equal key that are under way together are one call.

The seed's ``singleflight.Group``, and two things it lacks: each caller waits under its own
deadline, and when the last one has left the call is cancelled. Invariant: nothing is kept of a
call that is over, so this is no cache and cannot grow. Rejected: running the call in the first
caller's task, whose cancellation would be everybody's. Used by ``health``; for many keys a trip
see ``coalesce``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Generic, TypeVar

from paceline.errors import Code, Error, copied

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Call(Generic[V]):
    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[V]) -> None:
        self.task = task
        self.waiting = 0


class SingleFlight(Generic[K, V]):
    """Shares calls by key, within one event loop.

    *Resources*: one task for each key that is in flight; none once nobody waits.
    """

    def __init__(self) -> None:
        self._calls: dict[K, _Call[V]] = {}
        self._ending: set[asyncio.Task[V]] = set()

    async def do(self, key: K, call: Callable[[], Awaitable[V]]) -> V:
        """The result of ``call()``, or of the one with this key that is under way.

        Errors: those of ``call``, to each caller as a copy of its own; ``Error(CANCELLED)`` when
        the call itself was cancelled by somebody else.
        """
        shared = self._calls.get(key)
        if shared is None:
            shared = self._calls[key] = _Call(self._begin(call))
            shared.task.add_done_callback(lambda _: self._over(key, shared))
        shared.waiting += 1
        try:
            await asyncio.wait([shared.task])  # whoever is cancelled here leaves the call alone
        finally:
            shared.waiting -= 1
            if shared.waiting == 0 and not shared.task.done():
                self._over(key, shared)
                shared.task.cancel()
        if shared.task.cancelled():
            raise Error(Code.CANCELLED, "the shared call was cancelled")
        error = shared.task.exception()
        if isinstance(error, Exception):
            raise copied(error)
        return shared.task.result()

    def forget(self, key: K) -> None:
        """Let the next caller start anew; whoever waits already still gets its answer."""
        self._calls.pop(key, None)

    def _begin(self, call: Callable[[], Awaitable[V]]) -> asyncio.Task[V]:
        async def run() -> V:
            return await call()

        # In its own context: one caller's deadline is not everybody's.
        task = asyncio.create_task(run(), context=Context())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    def _over(self, key: K, shared: _Call[V]) -> None:
        if self._calls.get(key) is shared:
            del self._calls[key]
