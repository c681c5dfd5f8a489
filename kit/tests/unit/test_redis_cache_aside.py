"""Cache aside on the fake store: what is fetched when, and that nothing stale comes back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from gated_source import Source, turns, until_paid
from memory_store import MemoryStore, Mood

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error, NotFound
from paceline.redis import CacheAside
from paceline.testing import RecordingLog
from paceline.testing.cancel import cancel_at_every_await
from paceline.testing.clock import ManualClock

TTL = 60.0


class Thing:
    """Two caches (replicas) over one store and one source."""

    def __init__(self, negative: type[NotFound] | None = None) -> None:
        self.clock = ManualClock()
        self.log = RecordingLog()
        self.store = MemoryStore(self.clock)
        self.source = Source({"a": 1})
        self.one, self.two = self._cache(negative), self._cache(negative)

    def _cache(self, negative: type[NotFound] | None) -> CacheAside[int]:
        return CacheAside(
            self.store, self.log, self.clock,
            name="things", type=int, ttl=TTL, jitter=0, negative=negative, retry=0.001,
        )  # fmt: skip

    def get(self, cache: CacheAside[int], key: str = "a") -> "asyncio.Task[int]":
        return asyncio.create_task(cache.get_or_fetch(key, partial(self.source.fetch, key)))

    async def write(self, cache: CacheAside[int], version: int, key: str = "a") -> None:
        async with cache.changing(key):
            self.source.versions[key] = version


@asynccontextmanager
async def setting(negative: type[NotFound] | None = None) -> AsyncGenerator[Thing]:
    thing = Thing(negative)
    await asyncio.gather(thing.one.start(), thing.two.start())
    try:
        yield thing
    finally:
        thing.source.release_all()
        await asyncio.gather(thing.one.stop(), thing.two.stop())


async def test_a_second_read_is_a_hit_in_every_replica() -> None:
    async with setting() as thing:
        assert [await thing.get(cache) for cache in (thing.one, thing.one, thing.two)] == [1, 1, 1]
        assert thing.source.fetches == 1
        assert (thing.one.stats.misses, thing.one.stats.hits, thing.two.stats.hits) == (1, 1, 1)


async def test_reads_in_flight_share_one_fetch_and_keys_share_one_trip() -> None:
    async with setting() as thing:
        thing.source.versions |= {str(n): n for n in range(50)}
        reads = [thing.get(thing.one, str(n % 50)) for n in range(200)]
        assert [await read for read in reads] == [n % 50 for n in range(200)]
        assert thing.source.fetches == 50
        assert len(thing.store.read_batches) == 1
        assert (thing.one.stats.misses, thing.one.stats.coalesced) == (50, 150)


async def test_an_entry_ends_with_its_ttl() -> None:
    async with setting() as thing:
        await thing.get(thing.one)
        thing.source.versions["a"] = 2  # behind our back
        thing.clock.advance(TTL - 1)
        assert await thing.get(thing.one) == 1
        thing.clock.advance(1)
        assert await thing.get(thing.one) == 2


async def test_what_is_not_there_is_not_remembered_unless_asked_for() -> None:
    async with setting() as thing:
        for _ in range(3):
            with pytest.raises(NotFound):
                await thing.get(thing.one, "missing")
        assert thing.source.fetches == 3


async def test_a_negative_entry_is_remembered_shortly_and_removed_by_a_change() -> None:
    async with setting(NotFound) as thing:
        for _ in range(3):
            with pytest.raises(NotFound):
                await thing.get(thing.one, "missing")
        assert thing.source.fetches == 1
        thing.source.versions["missing"] = 1
        await thing.two.invalidate("missing")
        assert await thing.get(thing.one, "missing") == 1
        with pytest.raises(NotFound):
            await thing.get(thing.one, "other")
        thing.source.versions["other"] = 1
        thing.clock.advance(2)
        assert await thing.get(thing.one, "other") == 1


async def test_a_fetch_from_before_a_change_does_not_fill_after_it() -> None:
    async with setting() as thing:
        thing.source.gated = True
        old = thing.get(thing.one)
        await turns()
        thing.source.gated = False
        await thing.write(thing.two, 2)
        thing.source.release()
        assert await old == 1  # it began before the write was acknowledged
        assert thing.one.stats.refused == 1
        assert await thing.get(thing.one) == 2
        assert await thing.get(thing.two) == 2


async def test_a_read_after_a_change_does_not_join_a_fetch_from_before_it() -> None:
    async with setting() as thing:
        thing.source.gated = True
        old = thing.get(thing.one)
        await turns()
        thing.source.gated = False
        await thing.write(thing.two, 2)
        assert await thing.get(thing.one) == 2
        thing.source.release()
        assert await old == 1
        assert await thing.get(thing.two) == 2


async def test_while_a_change_is_being_made_nothing_is_filled() -> None:
    async with setting() as thing:
        async with thing.one.changing("a"):
            assert await thing.get(thing.two) == 1
            assert await thing.get(thing.two) == 1
            assert not thing.store.values
            thing.source.versions["a"] = 2
        assert thing.two.stats.bypassed == 2
        assert await thing.get(thing.two) == 2
        assert thing.store.values


async def test_of_two_writers_at_once_the_first_to_end_does_not_lift_the_others_block() -> None:
    async with setting() as thing:
        async with thing.one.changing("a"):
            async with thing.two.changing("a"):
                thing.source.versions["a"] = 2
            assert await thing.get(thing.two) == 2
            assert not thing.store.values
        await thing.get(thing.two)
        assert thing.store.values


async def test_a_change_whose_outcome_is_unknown_stays_blocked_for_its_hold() -> None:
    async with setting() as thing:
        with pytest.raises(Error, match="who knows"):
            async with thing.one.changing("a"):
                raise Error(Code.UNKNOWN, "who knows")
        assert await thing.get(thing.two) == 1
        thing.source.versions["a"] = 2  # it was made after all
        assert await thing.get(thing.two) == 2
        thing.clock.advance(60)
        assert await thing.get(thing.two) == 2
        assert thing.store.values


async def test_a_change_that_was_refused_is_released_at_once() -> None:
    async with setting() as thing:
        with pytest.raises(NotFound):
            async with thing.one.changing("a"):
                raise NotFound
        await thing.get(thing.two)
        assert thing.store.values


async def test_without_the_store_reads_go_to_the_source_and_changes_go_ahead() -> None:
    async with setting() as thing:
        thing.store.mood = Mood.AWAY
        assert await thing.get(thing.one) == 1
        await thing.write(thing.one, 2)
        assert await thing.get(thing.one) == 2
        assert (thing.one.stats.bypassed, thing.one.stats.owed) == (2, 1)


@pytest.mark.parametrize("mood", [Mood.AWAY, Mood.MUTE], ids=lambda mood: mood.name)
async def test_what_was_changed_while_the_store_was_away_is_never_stale_for_its_writer(
    mood: Mood,
) -> None:
    async with setting() as thing:
        await thing.get(thing.one)
        thing.store.mood = mood
        await thing.write(thing.one, 2)
        thing.store.mood = Mood.UP  # and before the debt is paid:
        assert await thing.get(thing.one) == 2
        await until_paid(thing.one)
        assert await thing.get(thing.two) == 2
        assert await thing.get(thing.one) == 2


async def test_a_debt_that_cannot_be_paid_ages_away() -> None:
    async with setting() as thing:
        thing.store.mood = Mood.AWAY
        await thing.write(thing.one, 2)
        thing.clock.advance(TTL + 10 + 60)
        await until_paid(thing.one)


async def test_with_too_many_debts_nothing_is_trusted_for_a_while() -> None:
    thing = Thing()
    cache = CacheAside(
        thing.store, thing.log, thing.clock, name="n", type=int, ttl=TTL, max_owed=3, retry=0.001
    )
    for key in "abcdez":
        thing.source.versions[key] = 1
        await thing.get(cache, key)
    thing.store.mood = Mood.AWAY
    for key in "abcde":
        await thing.write(cache, 2, key)
    thing.store.mood = Mood.UP
    await until_paid(cache)
    assert [await thing.get(cache, key) for key in "abcdez"] == [2, 2, 2, 2, 2, 1]
    assert cache.stats.bypassed == 6
    thing.clock.advance(TTL + 10 + 60)
    assert [await thing.get(cache, key) for key in "abcdez"] == [2, 2, 2, 2, 2, 1]
    assert cache.stats.bypassed == 6
    await cache.stop()


async def test_a_store_that_forgot_everything_only_costs_fetches() -> None:
    async with setting() as thing:
        thing.source.gated = True
        old = thing.get(thing.one)
        await turns()
        thing.store.forget()
        thing.source.release()
        assert await old == 1
        assert not thing.store.values
        thing.source.gated = False
        assert await thing.get(thing.one) == 1


async def test_rubbish_is_a_miss_and_told_once() -> None:
    async with setting() as thing:
        for _ in range(3):
            thing.store.values["a"] = (b"rubbish", thing.clock.monotonic() + 10)
            assert await thing.get(thing.one) == 1
        assert thing.one.stats.unreadable == 3
        assert thing.log.events("warning") == ["unreadable cache entry"]


async def test_an_entry_that_takes_long_to_fetch_is_renewed_before_its_end_by_one() -> None:
    async with setting() as thing:
        thing.source.gated = True
        first = thing.get(thing.one)
        await turns()
        thing.clock.advance(5)  # what the fetch takes
        thing.source.release()
        assert await first == 1
        thing.source.versions["a"] = 2
        thing.clock.advance(TTL - 1e-6)
        reads = [thing.get(cache) for cache in (thing.one, thing.two) for _ in range(20)]
        await turns()
        assert len(thing.source.waiting) == 1
        done = [read.result() for read in reads if read.done()]
        assert done == [1] * len(done)
        assert len(done) >= 20, "only callers in the renewer's own trip wait with it"
        thing.source.release()
        await asyncio.gather(*reads)
        assert thing.source.fetches == 2
        assert await thing.get(thing.two) == 2


async def test_a_renewal_that_fails_gives_the_old_value_and_one_that_finds_nothing_says_so() -> (
    None
):
    async with setting() as thing:

        async def broken() -> int:
            raise Error(Code.UNAVAILABLE, "away")

        async def gone() -> int:
            raise NotFound

        await thing.get(thing.one)
        thing.clock.jump(TTL)  # this machine's calendar says that it is over
        assert await thing.one.get_or_fetch("a", broken) == 1
        thing.clock.advance(20)  # the lease of the failure
        with pytest.raises(NotFound):
            await thing.one.get_or_fetch("a", gone)
        assert not thing.store.values


async def test_what_the_fetch_raises_reaches_each_caller_and_is_not_remembered() -> None:
    async with setting() as thing:

        async def broken() -> int:
            await asyncio.sleep(0)
            raise Error(Code.INTERNAL, "broken")

        results = await asyncio.gather(
            *(thing.one.get_or_fetch("a", broken) for _ in range(5)), return_exceptions=True
        )
        assert [str(result) for result in results] == ["broken"] * 5
        assert await thing.get(thing.one) == 1


async def test_what_is_too_large_is_not_stored() -> None:
    thing = Thing()
    cache = CacheAside(
        thing.store, thing.log, thing.clock, name="n", type=str, ttl=TTL, max_bytes=1000
    )

    async def fetch() -> str:
        return "x" * 1000

    assert await cache.get_or_fetch("a", fetch) == "x" * 1000
    assert not thing.store.values
    await cache.stop()


async def test_a_stopped_cache_goes_to_the_source() -> None:
    async with setting() as thing:
        await thing.get(thing.one)
        await thing.one.stop()
        assert await thing.get(thing.one) == 1
        await thing.write(thing.one, 2)
        await thing.one.start()
        assert await thing.get(thing.one) == 2


async def test_a_deadline_that_strikes_before_the_change_is_not_lost() -> None:
    async with setting() as thing:

        async def never(changes: object) -> list[bool]:
            await asyncio.Event().wait()
            return []

        cache = CacheAside(
            Stuck(thing.store, never), thing.log, thing.clock, name="n", type=int, ttl=TTL
        )
        with pytest.raises(Error) as caught:
            async with fail_after(0.01, "the request"):
                await thing.write(cache, 2)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert thing.source.versions["a"] == 1
        stopping = asyncio.create_task(cache.stop())
        await turns()
        stopping.cancel()
        await asyncio.wait({stopping})


class Stuck(MemoryStore):
    """A store whose changes are as told."""

    def __init__(self, store: MemoryStore, change: Callable[..., object]) -> None:
        super().__init__(store.clock)
        self.change = change  # type: ignore[method-assign,assignment] # the seam of this test


async def test_cancelled_anywhere_a_change_leaves_nothing_stale() -> None:
    async with setting() as thing:

        async def work() -> None:
            thing.source.versions["a"] += 1
            async with thing.one.changing("a"):
                await asyncio.sleep(0)
                thing.source.versions["a"] += 1
                await asyncio.sleep(0)

        async def check() -> None:
            await until_paid(thing.one)
            assert await thing.get(thing.one) == thing.source.versions["a"]
            assert await thing.get(thing.two) == thing.source.versions["a"]
            thing.store.forget()
            await thing.get(thing.one)

        await check()
        assert await cancel_at_every_await(work, check) > 3


async def test_cancelled_anywhere_a_read_harms_nobody() -> None:
    async with setting() as thing:

        async def check() -> None:
            thing.store.forget()
            assert await thing.get(thing.one) == 1
            thing.store.forget()

        places = await cancel_at_every_await(lambda: read(thing), check)
        assert places >= 3


async def read(thing: Thing) -> int:
    return await thing.one.get_or_fetch("a", partial(thing.source.fetch, "a"))
