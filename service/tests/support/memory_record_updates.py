"""A fake of ``RecordUpdates``, whose updates the test puts into a queue."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from myservice.domain.record_updates import RecordUpdate


class MemoryUpdates:
    """Updates for one subscriber at a time."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.subscribers = 0
        self.queue: asyncio.Queue[RecordUpdate | None] = asyncio.Queue()

    @asynccontextmanager
    async def subscribe(
        self, prefix: str, after: str | None, caller: str
    ) -> AsyncGenerator[AsyncIterator[RecordUpdate]]:
        self.requests.append((prefix, after))
        self.subscribers += 1
        try:
            yield self._updates()
        finally:
            self.subscribers -= 1

    async def _updates(self) -> AsyncGenerator[RecordUpdate]:
        while (update := await self.queue.get()) is not None:
            yield update
