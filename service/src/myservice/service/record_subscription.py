"""One subscriber's queue of record updates: bounded, and dropped as a whole when it is full.

A subscriber that is too slow loses all queued updates and gets one ``resync`` in their place, so it
knows that it missed some. Rejected: dropping single updates, which nobody would notice, and waiting
for the subscriber, which would stop all others. The iterator may be cancelled and used again; it
has one user at a time.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from myservice.domain.record_updates import Position, RecordUpdate


class Subscription:
    """A queue of updates. While ``catching_up``, an empty queue is refilled by ``catch_up``.

    ``position``: after the last change that was read from the log for this subscription alone. Up
    to ``max_queued`` updates of together ``max_bytes`` are queued.
    """

    def __init__(
        self,
        prefix: str,
        catch_up: "Callable[[Subscription], Awaitable[None]]",
        *,
        max_queued: int,
        max_bytes: int,
    ) -> None:
        self.prefix = prefix
        self.position = Position(0, 0)
        self.catching_up = True
        self.closed = False
        self._catch_up = catch_up
        self._max_queued = max_queued
        self._max_bytes = max_bytes
        self._queue: deque[tuple[RecordUpdate, int]] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()

    def put(self, update: RecordUpdate, size: int) -> bool:
        """Queue an update; False when there is no room."""
        queue = self._queue
        if queue and (len(queue) >= self._max_queued or self._bytes + size > self._max_bytes):
            return False
        queue.append((update, size))
        self._bytes += size
        self._changed.set()
        return True

    def put_page(self, updates: Iterable[RecordUpdate]) -> None:
        """Queue a page that was read for this subscription, which does not count as queued."""
        self._queue.extend((update, 0) for update in updates)
        self._changed.set()

    def resync(self, update: RecordUpdate) -> None:
        """Drop all queued updates and queue ``update``, a resync, instead."""
        self._queue.clear()
        self._bytes = 0
        self.put(update, 0)

    def close(self) -> None:
        """End the iterator now; what was queued can be read again by its position."""
        self.closed = True
        self._queue.clear()
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordUpdate:
        while not self.closed:
            if self._queue:
                update, size = self._queue.popleft()
                self._bytes -= size
                return update
            if self.catching_up:
                await self._catch_up(self)
            else:
                self._changed.clear()
                await self._changed.wait()
        raise StopAsyncIteration
