"""Coalesced reads: many keys in one trip, and equal keys one.

Why a read sees every write that was acknowledged before it: a call joins only what still waits,
never a trip that has departed, so the statement that answers it begins after the call did, and a
write is acknowledged after its commit. Two calls for one key share an answer only while both wait.
A caller that leaves harms nobody; when all of a trip have left, the trip is cancelled. Used by
``repository`` code for reads by key; writes are ``write``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from paceline.coalesce.batching import Batcher, CoalescerStats
from paceline.coalesce.errors import may_be_about_a_key
from paceline.coalesce.observe import Observer
from paceline.concurrency import name_timeout
from paceline.errors import Code, Error, NotFound
from paceline.stats import StatsEntry

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReadCoalescer(Generic[K, V]):
    """Calls in flight together become one ``fetch`` of distinct keys.

    ``fetch`` gives a value or an exception for each key; a missing one is NotFound. If it raises
    what is the fault of one key, the halves are fetched again, so a poison key fails alone.

    ``lanes``: trips out at once. ``max_batch``: keys a trip. ``max_waiting``: callers that may
    wait; one more is refused. ``name`` is for errors.

    *Resources*: a task for each trip that is out; `stop` waits for them.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[K]], Awaitable[Mapping[K, V | Exception]]],
        *,
        name: str,
        lanes: int = 1,
        max_batch: int = 512,
        max_waiting: int = 10_000,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self._fetch = fetch
        self._trips: Batcher[K, V] = Batcher(
            self._carry,
            self._lost,
            name=name,
            lanes=lanes,
            max_batch=max_batch,
            max_waiting=max_waiting,
            abandon=True,
            is_fault_of_one=may_be_about_a_key,
            observer=observer,
        )

    @property
    def stats(self) -> CoalescerStats:
        """What it has done so far."""
        return self._trips.stats

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("coalescers", self.name, lambda: self.stats)

    async def call(self, key: K) -> V:
        """The value of ``key``, as of now or later.

        Errors: the key's own; NotFound; RESOURCE_EXHAUSTED when too many wait; UNAVAILABLE when
        shutting down.
        """
        caller = self._trips.join(key, key)
        try:
            return await caller.future
        except asyncio.CancelledError:
            self._trips.leave(caller)
            name_timeout(self.name)
            raise

    async def start(self) -> None:
        """Open the door, also again after `stop`."""
        self._trips.reopen()

    async def stop(self) -> None:
        """Let nobody in and wait until everybody is answered; cut off when cancelled."""
        await self._trips.drain()

    async def _carry(self, keys: Sequence[K]) -> Sequence[V | Exception]:
        found = await self._fetch(keys)
        return [found[key] if key in found else NotFound() for key in keys]

    def _lost(self) -> Error:
        return Error(Code.UNAVAILABLE, f"{self.name} was cut off")
