"""A bulkhead: a bound on one kind of work, so that it cannot take all of a shared resource.

A semaphore with a bounded queue. At most ``limit`` run; ``max_waiting`` more wait in order, each as
long as its deadline allows; one more is refused at once, since an unbounded queue only refuses
later. A cancelled wait does not use up a place. Example: a page of rows holds a database connection
for as long as it is read, so pages get half of the connections, and the batches that serve all
other requests always find one.
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
    """The ``limit``, how many are ``active`` and ``waiting`` now, and how many were ``refused``."""

    limit: int
    active: int
    waiting: int
    refused: int


class Bulkhead:
    """At most ``limit`` blocks at once, and ``max_waiting`` that wait for a place.

        pages = Bulkhead("pages", limit=12)
        async with pages:
            rows = await read_page(cursor)

    ``name`` is for errors.

    Errors, on entry: `Overloaded` when too many wait. ``ValueError`` for settings out of range.
    """

    def __init__(self, name: str, *, limit: int, max_waiting: int = 256) -> None:
        if limit < 1 or max_waiting < 0:
            raise ValueError("limit must be at least 1, max_waiting at least 0")
        self.name = name
        self._limit = limit
        self._max_waiting = max_waiting
        self._places = asyncio.Semaphore(limit)
        self._active = self._waiting = self._refused = 0

    @property
    def stats(self) -> BulkheadStats:
        """The state and the counters."""
        return BulkheadStats(self._limit, self._active, self._waiting, self._refused)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("bulkheads", self.name, lambda: self.stats)

    async def __aenter__(self) -> None:
        if self._places.locked() and self._waiting >= self._max_waiting:
            self._refused += 1
            raise Overloaded(f"{self.name}: too many at once, try again later")
        self._waiting += 1
        try:
            await self._places.acquire()
        except asyncio.CancelledError:
            name_timeout(f"waiting for a free slot for {self.name}")
            raise
        finally:
            self._waiting -= 1
        self._active += 1

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._active -= 1
        self._places.release()
