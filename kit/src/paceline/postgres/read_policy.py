"""How a repository's reads use the pool: repeated once when a connection is lost, and bounded.

A read has no effect, so one whose connection was lost is repeated on another connection, within a
retry budget. A batch of a hundred reads by key is repeated as one. A page holds a connection for
itself, so pages run inside a bulkhead and batches always find a connection. Writes take no part:
after a lost connection it is not known whether a write was committed.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from paceline.resilience import Bulkhead, Retry, RetryBudget
from paceline.stats import StatsEntry

T = TypeVar("T")


class ReadPolicy:
    """Shared by all repositories of a process. ``max_pages``: how many pages are read at once.

    reads = ReadPolicy(max_pages=12)
    rows = await reads.page(lambda: pool.fetch(LIST, after, limit))
    """

    def __init__(self, *, max_pages: int = 12) -> None:
        self.retry: Retry = Retry(RetryBudget())
        self.pages: Bulkhead = Bulkhead("pages", limit=max_pages)

    async def batch(self, read: Callable[[], Awaitable[T]]) -> T:
        """A read by keys, which serves many callers. Errors: those of ``read``."""
        return await self.retry.run(read)

    async def page(self, read: Callable[[], Awaitable[T]]) -> T:
        """A read that serves one caller. Errors: those of ``read``; Overloaded."""
        async with self.pages:
            return await self.retry.run(read)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: reads that were repeated, and pages that wait."""
        yield StatsEntry("retries", "reads", lambda: self.retry.stats)
        yield from self.pages.stats_entries()
