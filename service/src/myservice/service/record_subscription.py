"""What waits for one follower of the stream of changes: bounded, and dropped as a whole.

A follower that does not keep up loses what waits for it and gets one ``resync`` in its place, so it
knows: rejected are dropping single updates (a hole that nobody sees) and waiting for it (one slow
reader would stop all). The iterator may be cancelled and taken up again; it has one user at a
time. Made and filled by ``feed``.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from myservice.domain.record_updates import RecordUpdate
from myservice.service.position import Position


class Follower:
    """One follower's queue. While ``behind`` it asks ``catch_up`` for what it is to have next.

    ``position``: what it was given by reading for itself. ``max_waiting`` updates of together
    ``max_bytes`` may wait.
    """

    def __init__(
        self,
        prefix: str,
        catch_up: "Callable[[Follower], Awaitable[None]]",
        *,
        max_waiting: int,
        max_bytes: int,
    ) -> None:
        self.prefix = prefix
        self.position = Position(0, 0)
        self.behind = True
        self._catch_up = catch_up
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[RecordUpdate, int]] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self.ended = False

    def put(self, update: RecordUpdate, size: int) -> bool:
        """Let it wait; False when there is no room."""
        waiting = self._waiting
        if waiting and (len(waiting) >= self._max_waiting or self._bytes + size > self._max_bytes):
            return False
        waiting.append((update, size))
        self._bytes += size
        self._changed.set()
        return True

    def load(self, updates: Iterable[RecordUpdate]) -> None:
        """Let a page of the log wait: it was asked for, and is not counted."""
        self._waiting.extend((update, 0) for update in updates)
        self._changed.set()

    def restart(self, resync: RecordUpdate) -> None:
        """Drop what waits and say so."""
        self._waiting.clear()
        self._bytes = 0
        self.put(resync, 0)

    def end(self) -> None:
        """End the stream now; what waits can be had again by its position."""
        self.ended = True
        self._waiting.clear()
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordUpdate:
        while not self.ended:
            if self._waiting:
                update, size = self._waiting.popleft()
                self._bytes -= size
                return update
            if self.behind:
                await self._catch_up(self)
            else:
                self._changed.clear()
                await self._changed.wait()
        raise StopAsyncIteration
