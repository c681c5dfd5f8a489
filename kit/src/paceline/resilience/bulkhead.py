"""A bulkhead: one kind of work cannot take all of what several kinds share.

``async with bulkhead:`` around each piece of it. At most ``limit`` are inside, ``most_waiting``
wait in order, each for as long as its ambient deadline lets it, and one more is refused at once,
for a queue without an end is only a slower refusal. A cancelled wait gives its place back. Pages of
records are inside one in the service: each takes a connection of its own for as long as it lasts,
and twenty-five of them would leave none for the trips that carry everybody else.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from paceline.concurrency import name_timeout
from paceline.errors import Overloaded
from paceline.stats import StatsEntry


@dataclass(frozen=True, slots=True)
class BulkheadStats:
    """Who is inside and who waits just now; who was refused so far."""

    limit: int
    inside: int
    waiting: int
    refused: int


class Bulkhead:
    """At most ``limit`` at once and ``most_waiting`` before them; ``name`` is for the error.

    Errors, on entering: `Overloaded`.
    """

    def __init__(self, name: str, *, limit: int, most_waiting: int = 256) -> None:
        if limit < 1 or most_waiting < 0:
            raise ValueError("a limit of at least 1, and nobody or somebody waiting")
        self.name = name
        self._limit = limit
        self._most_waiting = most_waiting
        self._places = asyncio.Semaphore(limit)
        self._inside = self._waiting = self._refused = 0

    @property
    def stats(self) -> BulkheadStats:
        """How it stands."""
        return BulkheadStats(self._limit, self._inside, self._waiting, self._refused)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("bulkheads", self.name, lambda: self.stats)

    async def __aenter__(self) -> None:
        if self._places.locked() and self._waiting >= self._most_waiting:
            self._refused += 1
            raise Overloaded(f"{self.name}: too many at once, try again later")
        self._waiting += 1
        try:
            await self._places.acquire()
        except asyncio.CancelledError:
            name_timeout(f"waiting for a place among {self.name}")
            raise
        finally:
            self._waiting -= 1
        self._inside += 1

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._inside -= 1
        self._places.release()
