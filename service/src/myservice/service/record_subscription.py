"""One subscriber's queue of record updates: bounded, and dropped as a whole when it is full.

A subscriber that is too slow loses all queued updates and gets one ``resync`` in their place, so it
knows that it missed some. What all subscribers hold is counted once for each update, however many
of them hold it, and until the next one is asked for, for until then it may be on its way to the
client. Rejected: dropping single updates, which nobody would notice, and waiting for the
subscriber, which would stop all others. The iterator may be cancelled and used again; it has one
user at a time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from myservice.domain.record_updates import Position, RecordUpdate


class HeldBytes:
    """The bytes of all updates that some subscriber holds, and how many they may be.

    From half of the ``limit`` on, those who are subscribed already hold one update each; at the
    limit there is no room for others.
    """

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether nobody else may subscribe."""
        return self.held >= self._limit

    @property
    def plenty(self) -> int:
        """How many more there may be before each subscriber is kept to one update."""
        return max(0, self._limit // 2 - self.held)


class QueuedUpdate:
    """An update of ``size`` bytes, and how many subscribers hold it."""

    __slots__ = ("holders", "size", "update")

    def __init__(self, update: RecordUpdate, size: int) -> None:
        self.update = update
        self.size = size
        self.holders = 0


class Subscription:
    """A queue of updates. While ``catching_up``, an empty queue is refilled by ``catch_up``.

    ``position``: after the last change that was read from the log for this subscription alone. Up
    to ``max_queued`` updates of together ``max_bytes`` are queued, and one if the ``budget`` has
    not plenty.
    """

    def __init__(
        self,
        prefix: str,
        catch_up: "Callable[[Subscription], Awaitable[None]]",
        budget: HeldBytes,
        *,
        max_queued: int,
        max_bytes: int,
    ) -> None:
        self.prefix = prefix
        self.position = Position(0, 0)
        self.catching_up = True
        self.closed = False
        self.page_rows = 8
        """How many changes to read next, so that few are read that the page has no room for."""
        self._catch_up = catch_up
        self._budget = budget
        self._max_queued = max_queued
        self._max_bytes = max_bytes
        self._queue: deque[QueuedUpdate] = deque()
        self._current: QueuedUpdate | None = None
        self._bytes = 0
        self._changed = asyncio.Event()

    def put(self, update: QueuedUpdate) -> bool:
        """Queue an update; False when there is no room."""
        queue = self._queue
        if queue and (
            len(queue) >= self._max_queued
            or self._bytes + update.size > self._max_bytes
            or not self._budget.plenty
        ):
            return False
        self._hold(update)
        self._changed.set()
        return True

    def put_page(self, updates: Iterable[QueuedUpdate]) -> None:
        """Queue a page that was read for this subscription alone."""
        for update in updates:
            self._hold(update)
        self._changed.set()

    def resync(self, update: RecordUpdate) -> None:
        """Drop all queued updates and queue ``update``, a resync, instead."""
        self._drop_queue()
        self.put(QueuedUpdate(update, 0))

    def close(self) -> None:
        """End the iterator now; what was queued can be read again by its position."""
        self.closed = True
        self._drop_queue()
        self._let_go_of_current()
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordUpdate:
        self._let_go_of_current()
        while not self.closed:
            if self._queue:
                self._current = found = self._queue.popleft()
                self._bytes -= found.size
                return found.update
            if self.catching_up:
                await self._catch_up(self)
            else:
                self._changed.clear()
                await self._changed.wait()
        raise StopAsyncIteration

    def _hold(self, update: QueuedUpdate) -> None:
        self._queue.append(update)
        self._bytes += update.size
        if not update.holders:
            self._budget.held += update.size
        update.holders += 1

    def _let_go(self, update: QueuedUpdate) -> None:
        update.holders -= 1
        if not update.holders:
            self._budget.held -= update.size

    def _let_go_of_current(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            self._let_go(current)

    def _drop_queue(self) -> None:
        for update in self._queue:
            self._let_go(update)
        self._queue.clear()
        self._bytes = 0
