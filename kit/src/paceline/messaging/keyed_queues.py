"""Queues of deliveries in which messages of one key stay in order.

A delivery with a key goes to the queue that its key's hash names, one without to the shortest, what
was taken from it last included, so that nothing waits behind a batch that is held.
`take` gives all that waits in a queue, in order, up to the limit of the first: while one batch is
being handled the next one gathers, so batches are as large as the load makes them and no larger.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from zlib import crc32

from paceline.messaging.delivery import Delivery


class KeyedQueues:
    """``count`` queues. Their length is the caller's to bound."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._queues: list[deque[Delivery]] = [deque() for _ in range(count)]
        self._taken = [0] * count
        self._changed = [asyncio.Event() for _ in range(count)]
        self._closed = False

    def open(self) -> None:
        """Begin with empty queues; after a `close`, again."""
        self._closed = False
        self._taken = [0] * self.count
        for queue in self._queues:
            queue.clear()

    def add(self, delivery: Delivery) -> None:
        """Put it into the queue of its key."""
        if delivery.key:
            number = crc32(delivery.key.encode()) % self.count
        else:
            number = min(range(self.count), key=self._load)
        self._queues[number].append(delivery)
        self._changed[number].set()

    def _load(self, number: int) -> int:
        return len(self._queues[number]) + self._taken[number]

    async def take(self, number: int, limit: Callable[[Delivery], int]) -> list[Delivery]:
        """Wait for deliveries in a queue and take them; none when the queues are closed.

        ``limit``: the size of the batch that a delivery may be in; only deliveries with the same
        limit go together.
        """
        queue, changed = self._queues[number], self._changed[number]
        self._taken[number] = 0
        while not queue and not self._closed:
            changed.clear()
            await changed.wait()
        if self._closed:
            return []
        most = limit(queue[0])
        taken = [queue.popleft()]
        while queue and len(taken) < most and limit(queue[0]) == most:
            taken.append(queue.popleft())
        self._taken[number] = len(taken)
        return taken

    def close(self) -> None:
        """Give out nothing more; every waiting `take` returns an empty list."""
        self._closed = True
        for changed in self._changed:
            changed.set()
