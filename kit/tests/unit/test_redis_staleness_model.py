"""Reads, changes and failures in any order: no read returns less than the invariant allows."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from manual_source import ManualSource, loop_turns, until_delivered
from memory_store import Availability, MemoryStore

from paceline.redis import CacheAside, CacheSettings
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

T = TypeVar("T")

KEYS: tuple[str, ...] = ("a", "b")
REPLICAS = 2
keys = st.sampled_from(KEYS)
replicas = st.integers(0, REPLICAS - 1)


@dataclass(eq=False)
class Read:
    """A read in progress: ``least`` is the oldest version that it may return."""

    key: str
    least: int
    task: "asyncio.Task[int]"


@dataclass(eq=False)
class Write:
    """A change in progress; it commits once ``go`` is set."""

    replica: int
    key: str
    go: asyncio.Event
    task: "asyncio.Task[int]"


class Replicas(RuleBasedStateMachine):
    """Several caches over one store. A fetch reads at once and returns late."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.source = ManualSource(dict.fromkeys(KEYS, 0), held=True)
        self.caches = [self.new_cache() for _ in range(REPLICAS)]
        self.reads: list[Read] = []
        self.writes: list[Write] = []
        # The newest acknowledged version: of each writer, and of those the store knows of.
        self.own = {(replica, key): 0 for replica in range(REPLICAS) for key in KEYS}
        self.known = dict.fromkeys(KEYS, 0)

    def new_cache(self) -> CacheAside[int]:
        settings = CacheSettings(ttl=60, retry_interval=0.0005)
        return CacheAside(
            self.store, RecordingLog(), self.clock, name="n", type=int, settings=settings
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(replica=replicas, key=keys)
    def begin_a_read(self, replica: int, key: str) -> None:
        least = max(self.known[key], self.own[replica, key])
        cache = self.caches[replica]
        call = cache.get_or_fetch(key, partial(self.source.fetch, key))
        self.reads.append(Read(key, least, self.loop.create_task(call)))
        self.settle()

    @rule(replica=replicas, key=keys)
    def begin_a_change(self, replica: int, key: str) -> None:
        go = asyncio.Event()
        task = self.loop.create_task(self.change(replica, key, go))
        self.writes.append(Write(replica, key, go, task))
        self.settle()

    @rule(replica=replicas, key=keys)
    def change_at_once(self, replica: int, key: str) -> None:
        self.begin_a_change(replica, key)
        self.writes[-1].go.set()
        self.settle()

    async def change(self, replica: int, key: str, go: asyncio.Event) -> int:
        async with self.caches[replica].invalidating(key):
            await go.wait()
            self.source.versions[key] += 1
            version = self.source.versions[key]
            await asyncio.sleep(0)
        return version

    @rule(number=st.integers(0, 5))
    def commit(self, number: int) -> None:
        waiting = [write for write in self.writes if not write.go.is_set()]
        if waiting:
            waiting[number % len(waiting)].go.set()
            self.settle()

    @rule(number=st.integers(0, 5))
    def answer_a_fetch(self, number: int) -> None:
        if self.source.waiting:
            self.source.answer(number % len(self.source.waiting))
            self.settle()

    @rule(
        availability=st.sampled_from(
            [
                Availability.UP,
                Availability.UP,
                Availability.UP,
                Availability.DOWN,
                Availability.NO_REPLY,
            ]
        )
    )
    def the_store_fails_or_recovers(self, availability: Availability) -> None:
        self.store.availability = availability

    @rule()
    def the_store_is_restarted(self) -> None:
        self.store.forget()

    @rule(number=st.integers(0, 5))
    def a_reader_is_cancelled(self, number: int) -> None:
        if self.reads:
            self.reads.pop(number % len(self.reads)).task.cancel()
            self.settle()

    @rule(seconds=st.sampled_from([1.0, 15.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def pending_invalidations_are_delivered(self) -> None:
        self.store.availability = Availability.UP
        self.run(until_delivered(*self.caches))
        self.settle()

    def settle(self) -> None:
        self.run(loop_turns())
        for write in [write for write in self.writes if write.task.done()]:
            self.writes.remove(write)
            version = write.task.result()
            own = write.replica, write.key
            self.own[own] = max(self.own[own], version)
        if not any(cache.stats.pending_invalidations for cache in self.caches):
            # All that was acknowledged is known to the store, by whichever replica.
            for (_, key), version in self.own.items():
                self.known[key] = max(self.known[key], version)
        for read in [read for read in self.reads if read.task.done()]:
            self.reads.remove(read)
            assert read.least <= read.task.result() <= self.source.versions[read.key]

    def teardown(self) -> None:
        self.store.availability = Availability.UP
        self.source.held = False
        for write in self.writes:
            write.go.set()
        self.source.answer_all()
        self.settle()
        assert not self.writes
        assert not self.reads
        self.run(until_delivered(*self.caches))
        for cache in self.caches:
            self.run(cache.stop())
        self.loop.close()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
