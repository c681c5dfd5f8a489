"""Lanes: where deliveries queue, so that one key stays in one line.

A delivery with a key goes to the lane that its key says, one without to the shortest. `take` gives
all that waits, in order, up to the limit of its first: while one batch is worked on the next one
gathers, which makes batches as large as the load asks for and no larger. Used by ``consumer``.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from zlib import crc32

from paceline.messaging.delivery import Delivery


class Lanes:
    """``count`` queues. Their length is the caller's to bound."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._waiting: list[deque[Delivery]] = [deque() for _ in range(count)]
        self._stirred = [asyncio.Event() for _ in range(count)]
        self._closed = False

    def open(self) -> None:
        """Begin, also again, with empty lanes."""
        self._closed = False
        for waiting in self._waiting:
            waiting.clear()

    def add(self, delivery: Delivery) -> None:
        """Queue it."""
        if delivery.key:
            lane = crc32(delivery.key.encode()) % self.count
        else:
            lane = min(range(self.count), key=lambda number: len(self._waiting[number]))
        self._waiting[lane].append(delivery)
        self._stirred[lane].set()

    async def take(self, lane: int, limit: Callable[[Delivery], int]) -> list[Delivery]:
        """Wait for some and take them; none when the lanes are closed.

        ``limit`` says in how large a company a delivery may go; only equals go together.
        """
        waiting, stirred = self._waiting[lane], self._stirred[lane]
        while not waiting and not self._closed:
            stirred.clear()
            await stirred.wait()
        if self._closed:
            return []
        most = limit(waiting[0])
        taken = [waiting.popleft()]
        while waiting and len(taken) < most and limit(waiting[0]) == most:
            taken.append(waiting.popleft())
        return taken

    def close(self) -> None:
        """Give nothing out any more."""
        self._closed = True
        for stirred in self._stirred:
            stirred.set()
