"""How reads get at the database: again when a connection was lost, and pages not all at once.

A read may be repeated, so one whose connection went away is made once more on another, within a
budget. That is per trip: a trip of a hundred reads is repeated once. Pages share no trips, so they
are kept to a part of the connections (``paceline.resilience.bulkhead``). One `Reads` serves all
repositories. Writes have no part in this: whether one was done is not known after a lost
connection.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from paceline.resilience import Bulkhead, Retry, RetryBudget
from paceline.stats import StatsEntry

T = TypeVar("T")


class Reads:
    """``pages``: the most at once."""

    def __init__(self, *, pages: int = 12) -> None:
        self.retry = Retry(RetryBudget())
        self.pages = Bulkhead("pages", limit=pages)

    async def trip(self, read: Callable[[], Awaitable[T]]) -> T:
        """A read by keys. Errors: its own."""
        return await self.retry.run(read)

    async def page(self, read: Callable[[], Awaitable[T]]) -> T:
        """A read that takes a connection for itself. Errors: its own, Overloaded."""
        async with self.pages:
            return await self.retry.run(read)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: reads that were repeated, and pages that wait."""
        yield StatsEntry("retries", "reads", lambda: self.retry.stats)
        yield from self.pages.stats_entries()
