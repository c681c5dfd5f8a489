"""Updates that a test sends by hand: the fake of ``RecordUpdates``."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from myservice.domain.record_updates import RecordUpdate


class MemoryUpdates:
    """Implements ``myservice.domain.record_updates.RecordUpdates`` for one subscriber at a time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.subscribers = 0
        self.queue: asyncio.Queue[RecordUpdate | None] = asyncio.Queue()

    @asynccontextmanager
    async def subscribe(
        self, prefix: str, after: str | None
    ) -> AsyncGenerator[AsyncIterator[RecordUpdate]]:
        self.asked.append((prefix, after))
        self.subscribers += 1
        try:
            yield self._updates()
        finally:
            self.subscribers -= 1

    async def _updates(self) -> AsyncGenerator[RecordUpdate]:
        while (update := await self.queue.get()) is not None:
            yield update
