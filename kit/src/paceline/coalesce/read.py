"""Coalesced reads: many keys in one query, equal keys once.

Why a read sees every write that was acknowledged before it: a call joins only keys that still wait
for their batch, never a batch that has begun, so the query that answers it starts after the call
did; and a write is acknowledged after its commit. Two calls for one key share a result only while
both wait. A caller that is cancelled does not affect the others; when all callers of a batch are,
the batch is cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from paceline.coalesce.batching import Batcher
from paceline.coalesce.observer import Observer
from paceline.coalesce.splitting import split_reads
from paceline.coalesce.stats import CoalescerStats
from paceline.concurrency import name_timeout
from paceline.errors import Code, Error, NotFound
from paceline.stats import StatsEntry

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReadCoalescer(Generic[K, V]):
    """Concurrent calls become one ``fetch`` of their distinct keys.

        async def fetch(ids: Sequence[UUID]) -> dict[UUID, Record]:
            rows = await pool.fetch("SELECT … WHERE id = ANY($1)", ids)
            return {row["id"]: record_of(row) for row in rows}

        reads = ReadCoalescer(fetch, name="reading records")
        record = await reads.call(record_id)

    For reads by key that many requests make at the same time. ``fetch`` returns a value or an
    exception for each key; a key that is missing in its result is `NotFound`. If ``fetch`` raises
    an error that one key may have caused, its halves are fetched separately, and so on, so that
    only the call for that key fails.

    ``name``: for errors, metrics and spans. ``max_in_flight``: batches at once. ``max_batch``: keys
    in a batch. ``max_waiting``: calls that may wait for a batch; a further one is refused.

    Errors: ``ValueError`` for a limit below 1. *Resources*: one task for each batch in flight;
    `stop` waits for them.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[K]], Awaitable[Mapping[K, V | Exception]]],
        *,
        name: str,
        max_in_flight: int = 1,
        max_batch: int = 512,
        max_waiting: int = 10_000,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self._fetch = fetch
        self._batcher: Batcher[K, V] = Batcher(
            self._fetch_all,
            self._cut_off,
            name=name,
            max_in_flight=max_in_flight,
            max_batch=max_batch,
            max_waiting=max_waiting,
            cancel_unawaited=True,
            should_split=split_reads,
            observer=observer,
        )

    @property
    def stats(self) -> CoalescerStats:
        """The counters."""
        return self._batcher.stats

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("coalescers", self.name, lambda: self.stats)

    async def call(self, key: K) -> V:
        """Read the value of ``key``, as it is now or a moment later.

        Errors: what ``fetch`` returned or raised for the key; `NotFound`; RESOURCE_EXHAUSTED when
        too many calls wait; UNAVAILABLE after `stop`.
        """
        batcher = self._batcher
        if batcher.expects_no_company():
            try:
                return await batcher.run_alone(key)
            except asyncio.CancelledError:
                name_timeout(self.name, instead=True)
                raise
        caller = batcher.submit(key, key)
        try:
            return await caller.future
        except asyncio.CancelledError:
            batcher.withdraw(caller)
            name_timeout(self.name)
            raise

    async def start(self) -> None:
        """Accept calls again after `stop`; a new coalescer accepts them already."""
        self._batcher.reopen()

    async def stop(self) -> None:
        """Accept no more calls and wait until all are answered.

        Cancelling this cancels the batches in flight; all remaining calls fail with UNAVAILABLE.
        """
        await self._batcher.drain()

    async def _fetch_all(self, keys: Sequence[K]) -> Sequence[V | Exception]:
        found = await self._fetch(keys)
        return [found[key] if key in found else NotFound() for key in keys]

    def _cut_off(self) -> Error:
        return Error(Code.UNAVAILABLE, f"{self.name} was cut off")
