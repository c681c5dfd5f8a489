"""Single flight: concurrent calls with an equal key are one call, as Go's ``singleflight.Group``.

Unlike Go's, each caller waits under its own deadline, and the call is cancelled when its last
caller is. Invariant: nothing of a call is kept once it has ended, so this is no cache and cannot
grow. Rejected: running the call in the first caller's task, whose cancellation would be
everybody's. ``paceline.coalesce`` combines calls with different keys.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context
from typing import Generic, TypeVar

from paceline.errors import Code, Error, copy_exception

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Call(Generic[V]):
    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[V]) -> None:
        self.task = task
        self.waiting = 0


class SingleFlight(Generic[K, V]):
    """Shares calls by key, within one event loop.

        flights = SingleFlight[str, Config]()
        config = await flights.do(tenant, lambda: load_config(tenant))

    *Resources*: one task for each key that is in flight.
    """

    def __init__(self) -> None:
        self._calls: dict[K, _Call[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()

    async def do(self, key: K, call: Callable[[], Awaitable[V]]) -> V:
        """The result of ``call()``, or of the call with this key that is in flight.

        Errors: that of the call, a copy for each caller; ``Error(CANCELLED)`` when the call itself
        was cancelled, and not its callers.
        """
        shared = self._calls.get(key)
        if shared is None:
            shared = self._calls[key] = _Call(self._start(call))
            shared.task.add_done_callback(lambda _: self._remove(key, shared))
        shared.waiting += 1
        try:
            await asyncio.wait([shared.task])  # a caller cancelled here does not cancel the call
        finally:
            shared.waiting -= 1
            if shared.waiting == 0 and not shared.task.done():
                self._remove(key, shared)
                shared.task.cancel()
        if shared.task.cancelled():
            raise Error(Code.CANCELLED, "the shared call was cancelled")
        error = shared.task.exception()
        if isinstance(error, Exception):
            raise copy_exception(error)
        return shared.task.result()

    def forget(self, key: K) -> None:
        """Let the next `do` start a new call; callers of the present one still get its result."""
        self._calls.pop(key, None)

    def _start(self, call: Callable[[], Awaitable[V]]) -> asyncio.Task[V]:
        async def run() -> V:
            return await call()

        # In a context of its own: the first caller's deadline does not apply to the others.
        task = asyncio.create_task(run(), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _remove(self, key: K, shared: _Call[V]) -> None:
        if self._calls.get(key) is shared:
            del self._calls[key]
