"""A data source whose answers a test releases one by one, so that it chooses the interleaving."""

import asyncio
from dataclasses import dataclass, field

from paceline.errors import NotFound
from paceline.redis import CacheAside


@dataclass
class ManualSource:
    """Versions by key. While ``held``, a fetch reads at once and returns when `answer` is called.

    That is the worst case of a database: the result is as old as it can be.
    """

    versions: dict[str, int] = field(default_factory=dict[str, int])
    held: bool = False
    fetches: int = 0
    waiting: list[asyncio.Event] = field(default_factory=list[asyncio.Event])

    async def fetch(self, key: str) -> int:
        self.fetches += 1
        seen = self.versions.get(key)
        if self.held:
            answered = asyncio.Event()
            self.waiting.append(answered)
            await answered.wait()
        else:
            await asyncio.sleep(0)
        if seen is None:
            raise NotFound
        return seen

    def answer(self, number: int = 0) -> None:
        """Let the fetch that is in this place of those waiting return."""
        self.waiting.pop(number).set()

    def answer_all(self) -> None:
        while self.waiting:
            self.answer()


async def loop_turns(times: int = 40) -> None:
    """Let every task run until it waits for something outside of the loop."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until_delivered(*caches: CacheAside[int]) -> None:
    """Wait until no cache has an invalidation pending."""
    while any(cache.stats.pending_invalidations for cache in caches):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.0002)
