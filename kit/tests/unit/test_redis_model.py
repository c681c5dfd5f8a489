"""Reads, changes and failures in any order: what each read may give, and what it may not."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from gated_source import Source, turns, until_paid
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from memory_store import MemoryStore, Mood

from paceline.redis import CacheAside
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

T = TypeVar("T")

KEYS: tuple[str, ...] = ("a", "b")
REPLICAS = 2
keys = st.sampled_from(KEYS)
replicas = st.integers(0, REPLICAS - 1)


@dataclass(eq=False)
class Read:
    """A read under way: ``least`` is the oldest version that it may give."""

    key: str
    least: int
    task: "asyncio.Task[int]"


@dataclass(eq=False)
class Write:
    """A change under way."""

    replica: int
    key: str
    go: asyncio.Event
    task: "asyncio.Task[int]"


class Replicas(RuleBasedStateMachine):
    """Several caches over one store. A fetch reads at once and answers late."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.source = Source(dict.fromkeys(KEYS, 0), gated=True)
        self.caches = [self.new_cache() for _ in range(REPLICAS)]
        self.reads: list[Read] = []
        self.writes: list[Write] = []
        # The newest acknowledged version: of each writer, and of those the store has heard of.
        self.own = {(replica, key): 0 for replica in range(REPLICAS) for key in KEYS}
        self.known = dict.fromkeys(KEYS, 0)

    def new_cache(self) -> CacheAside[int]:
        return CacheAside(
            self.store, RecordingLog(), self.clock, name="n", type=int, ttl=60, retry=0.0005
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(replica=replicas, key=keys)
    def begin_a_read(self, replica: int, key: str) -> None:
        least = max(self.known[key], self.own[replica, key])
        cache = self.caches[replica]
        call = cache.get_or_fetch(key, partial(self.source.fetch, key))
        self.reads.append(Read(key, least, self.loop.create_task(call)))
        self.go_on()

    @rule(replica=replicas, key=keys)
    def begin_a_change(self, replica: int, key: str) -> None:
        go = asyncio.Event()
        task = self.loop.create_task(self.change(replica, key, go))
        self.writes.append(Write(replica, key, go, task))
        self.go_on()

    @rule(replica=replicas, key=keys)
    def change_at_once(self, replica: int, key: str) -> None:
        self.begin_a_change(replica, key)
        self.writes[-1].go.set()
        self.go_on()

    async def change(self, replica: int, key: str, go: asyncio.Event) -> int:
        async with self.caches[replica].changing(key):
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
            self.go_on()

    @rule(number=st.integers(0, 5))
    def answer_a_fetch(self, number: int) -> None:
        if self.source.waiting:
            self.source.release(number % len(self.source.waiting))
            self.go_on()

    @rule(mood=st.sampled_from([Mood.UP, Mood.UP, Mood.UP, Mood.AWAY, Mood.MUTE]))
    def the_store_changes_its_mood(self, mood: Mood) -> None:
        self.store.mood = mood

    @rule()
    def the_store_is_restarted(self) -> None:
        self.store.forget()

    @rule(number=st.integers(0, 5))
    def a_reader_leaves(self, number: int) -> None:
        if self.reads:
            self.reads.pop(number % len(self.reads)).task.cancel()
            self.go_on()

    @rule(seconds=st.sampled_from([1.0, 15.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def debts_are_paid(self) -> None:
        self.store.mood = Mood.UP
        self.run(until_paid(*self.caches))
        self.go_on()

    def go_on(self) -> None:
        self.run(turns())
        for write in [write for write in self.writes if write.task.done()]:
            self.writes.remove(write)
            version = write.task.result()
            own = write.replica, write.key
            self.own[own] = max(self.own[own], version)
        if not any(cache.stats.owed for cache in self.caches):
            # All that was acknowledged is known to the store, by whichever replica.
            for (_, key), version in self.own.items():
                self.known[key] = max(self.known[key], version)
        for read in [read for read in self.reads if read.task.done()]:
            self.reads.remove(read)
            assert read.least <= read.task.result() <= self.source.versions[read.key]

    def teardown(self) -> None:
        self.store.mood = Mood.UP
        self.source.gated = False
        for write in self.writes:
            write.go.set()
        self.source.release_all()
        self.go_on()
        assert not self.writes
        assert not self.reads
        self.run(until_paid(*self.caches))
        for cache in self.caches:
            self.run(cache.stop())
        self.loop.close()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
