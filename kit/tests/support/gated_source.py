"""A source of truth whose answers are let go by hand, so that a test chooses the interleaving."""

import asyncio
from dataclasses import dataclass, field

from paceline.errors import NotFound
from paceline.redis import CacheAside


@dataclass
class Source:
    """Versions by key. While ``gated``, a fetch reads at once and answers when `release` is called.

    That is the worst a database can do: what it says is as old as can be.
    """

    versions: dict[str, int] = field(default_factory=dict[str, int])
    gated: bool = False
    fetches: int = 0
    waiting: list[asyncio.Event] = field(default_factory=list[asyncio.Event])

    async def fetch(self, key: str) -> int:
        self.fetches += 1
        seen = self.versions.get(key)
        if self.gated:
            gate = asyncio.Event()
            self.waiting.append(gate)
            await gate.wait()
        else:
            await asyncio.sleep(0)
        if seen is None:
            raise NotFound
        return seen

    def release(self, number: int = 0) -> None:
        self.waiting.pop(number).set()

    def release_all(self) -> None:
        while self.waiting:
            self.release()


async def turns(times: int = 40) -> None:
    """Let everything go on that can go on by itself."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until_paid(*caches: CacheAside[int]) -> None:
    """Wait until no cache owes the store anything."""
    while any(cache.stats.owed for cache in caches):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.0002)
