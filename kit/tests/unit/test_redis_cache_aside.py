"""Cache aside on the fake store: what is fetched when, and that nothing stale comes back."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
from manual_source import ManualSource, loop_turns, until_delivered
from memory_store import Availability, MemoryStore

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error, NotFound
from paceline.redis import CacheAside, CacheSettings
from paceline.testing import RecordingLog
from paceline.testing.cancel import cancel_at_every_await
from paceline.testing.clock import ManualClock

TTL = 60.0
SETTINGS = CacheSettings(ttl=TTL, jitter=0, retry_interval=0.001)


class Replicas:
    """Two caches (replicas) over one store and one source."""

    def __init__(self, negative: type[NotFound] | None = None) -> None:
        self.clock = ManualClock()
        self.log = RecordingLog()
        self.store = MemoryStore(self.clock)
        self.source = ManualSource({"a": 1})
        self.one, self.two = self._cache(negative), self._cache(negative)

    def _cache(self, negative: type[NotFound] | None) -> CacheAside[int]:
        return CacheAside(
            self.store, self.log, self.clock,
            name="things", type=int, settings=SETTINGS, negative=negative,
        )  # fmt: skip

    def get(self, cache: CacheAside[int], key: str = "a") -> "asyncio.Task[int]":
        return asyncio.create_task(cache.get_or_fetch(key, partial(self.source.fetch, key)))

    async def write(self, cache: CacheAside[int], version: int, key: str = "a") -> None:
        async with cache.invalidating(key):
            self.source.versions[key] = version


@asynccontextmanager
async def two_replicas(negative: type[NotFound] | None = None) -> AsyncGenerator[Replicas]:
    pair = Replicas(negative)
    await asyncio.gather(pair.one.start(), pair.two.start())
    try:
        yield pair
    finally:
        pair.source.answer_all()
        await asyncio.gather(pair.one.stop(), pair.two.stop())


async def test_a_second_read_is_a_hit_in_every_replica() -> None:
    async with two_replicas() as pair:
        assert [await pair.get(cache) for cache in (pair.one, pair.one, pair.two)] == [1, 1, 1]
        assert pair.source.fetches == 1
        assert (pair.one.stats.misses, pair.one.stats.hits, pair.two.stats.hits) == (1, 1, 1)


async def test_reads_in_flight_share_one_fetch_and_keys_share_one_batch() -> None:
    async with two_replicas() as pair:
        pair.source.versions |= {str(n): n for n in range(50)}
        reads = [pair.get(pair.one, str(n % 50)) for n in range(200)]
        assert [await read for read in reads] == [n % 50 for n in range(200)]
        assert pair.source.fetches == 50
        assert len(pair.store.read_batches) == 1
        assert (pair.one.stats.misses, pair.one.stats.coalesced) == (50, 150)


async def test_an_entry_ends_with_its_ttl() -> None:
    async with two_replicas() as pair:
        await pair.get(pair.one)
        pair.source.versions["a"] = 2  # without an invalidation
        pair.clock.advance(TTL - 1)
        assert await pair.get(pair.one) == 1
        pair.clock.advance(1)
        assert await pair.get(pair.one) == 2


async def test_that_there_is_no_value_is_not_cached_by_default() -> None:
    async with two_replicas() as pair:
        for _ in range(3):
            with pytest.raises(NotFound):
                await pair.get(pair.one, "missing")
        assert pair.source.fetches == 3


async def test_a_negative_entry_is_cached_for_a_short_time_and_removed_by_a_change() -> None:
    async with two_replicas(NotFound) as pair:
        for _ in range(3):
            with pytest.raises(NotFound):
                await pair.get(pair.one, "missing")
        assert pair.source.fetches == 1
        pair.source.versions["missing"] = 1
        await pair.two.invalidate("missing")
        assert await pair.get(pair.one, "missing") == 1
        with pytest.raises(NotFound):
            await pair.get(pair.one, "other")
        pair.source.versions["other"] = 1
        pair.clock.advance(2)
        assert await pair.get(pair.one, "other") == 1


async def test_a_fetch_from_before_a_change_does_not_fill_after_it() -> None:
    async with two_replicas() as pair:
        pair.source.held = True
        old = pair.get(pair.one)
        await loop_turns()
        pair.source.held = False
        await pair.write(pair.two, 2)
        pair.source.answer()
        assert await old == 1  # it began before the write was acknowledged
        assert pair.one.stats.fills_refused == 1
        assert await pair.get(pair.one) == 2
        assert await pair.get(pair.two) == 2


async def test_a_read_after_a_change_does_not_join_a_fetch_from_before_it() -> None:
    async with two_replicas() as pair:
        pair.source.held = True
        old = pair.get(pair.one)
        await loop_turns()
        pair.source.held = False
        await pair.write(pair.two, 2)
        assert await pair.get(pair.one) == 2
        pair.source.answer()
        assert await old == 1
        assert await pair.get(pair.two) == 2


async def test_while_a_change_is_being_made_nothing_is_filled() -> None:
    async with two_replicas() as pair:
        async with pair.one.invalidating("a"):
            assert await pair.get(pair.two) == 1
            assert await pair.get(pair.two) == 1
            assert not pair.store.values
            pair.source.versions["a"] = 2
        assert pair.two.stats.bypassed == 2
        assert await pair.get(pair.two) == 2
        assert pair.store.values


async def test_of_two_concurrent_writers_the_first_to_end_does_not_remove_the_others_block() -> (
    None
):
    async with two_replicas() as pair:
        async with pair.one.invalidating("a"):
            async with pair.two.invalidating("a"):
                pair.source.versions["a"] = 2
            assert await pair.get(pair.two) == 2
            assert not pair.store.values
        await pair.get(pair.two)
        assert pair.store.values


async def test_a_change_whose_outcome_is_unknown_stays_blocked_until_its_block_expires() -> None:
    async with two_replicas() as pair:
        with pytest.raises(Error, match="outcome unknown"):
            async with pair.one.invalidating("a"):
                raise Error(Code.UNKNOWN, "outcome unknown")
        assert await pair.get(pair.two) == 1
        pair.source.versions["a"] = 2  # it was made after all
        assert await pair.get(pair.two) == 2
        pair.clock.advance(60)
        assert await pair.get(pair.two) == 2
        assert pair.store.values


async def test_a_change_that_was_refused_is_released_at_once() -> None:
    async with two_replicas() as pair:
        with pytest.raises(NotFound):
            async with pair.one.invalidating("a"):
                raise NotFound
        await pair.get(pair.two)
        assert pair.store.values


async def test_without_the_store_reads_go_to_the_source_and_changes_proceed() -> None:
    async with two_replicas() as pair:
        pair.store.availability = Availability.DOWN
        assert await pair.get(pair.one) == 1
        await pair.write(pair.one, 2)
        assert await pair.get(pair.one) == 2
        assert (pair.one.stats.bypassed, pair.one.stats.pending_invalidations) == (2, 1)


@pytest.mark.parametrize(
    "availability",
    [Availability.DOWN, Availability.NO_REPLY],
    ids=lambda availability: availability.name,
)
async def test_what_was_changed_while_the_store_was_away_is_never_stale_for_its_writer(
    availability: Availability,
) -> None:
    async with two_replicas() as pair:
        await pair.get(pair.one)
        pair.store.availability = availability
        await pair.write(pair.one, 2)
        pair.store.availability = Availability.UP  # and before the invalidation is delivered:
        assert await pair.get(pair.one) == 2
        await until_delivered(pair.one)
        assert await pair.get(pair.two) == 2
        assert await pair.get(pair.one) == 2


async def test_an_invalidation_that_cannot_be_delivered_expires() -> None:
    async with two_replicas() as pair:
        pair.store.availability = Availability.DOWN
        await pair.write(pair.one, 2)
        pair.clock.advance(TTL + 10 + 60)
        await until_delivered(pair.one)


async def test_with_too_many_pending_invalidations_the_cache_is_bypassed_for_all_keys() -> None:
    pair = Replicas()
    few = CacheSettings(ttl=TTL, max_pending_invalidations=3, retry_interval=0.001)
    cache = CacheAside(pair.store, pair.log, pair.clock, name="n", type=int, settings=few)
    for key in "abcdez":
        pair.source.versions[key] = 1
        await pair.get(cache, key)
    pair.store.availability = Availability.DOWN
    for key in "abcde":
        await pair.write(cache, 2, key)
    pair.store.availability = Availability.UP
    await until_delivered(cache)
    assert [await pair.get(cache, key) for key in "abcdez"] == [2, 2, 2, 2, 2, 1]
    assert cache.stats.bypassed == 6
    pair.clock.advance(TTL + 10 + 60)
    assert [await pair.get(cache, key) for key in "abcdez"] == [2, 2, 2, 2, 2, 1]
    assert cache.stats.bypassed == 6
    await cache.stop()


async def test_a_store_that_lost_everything_only_costs_fetches() -> None:
    async with two_replicas() as pair:
        pair.source.held = True
        old = pair.get(pair.one)
        await loop_turns()
        pair.store.forget()
        pair.source.answer()
        assert await old == 1
        assert not pair.store.values
        pair.source.held = False
        assert await pair.get(pair.one) == 1


async def test_an_unreadable_entry_is_a_miss_and_logged_once() -> None:
    async with two_replicas() as pair:
        for _ in range(3):
            pair.store.values["a"] = (b"not an entry", pair.clock.monotonic() + 10)
            assert await pair.get(pair.one) == 1
        assert pair.one.stats.unreadable == 3
        assert pair.log.events("warning") == ["unreadable cache entry"]


async def test_an_entry_that_takes_long_to_fetch_is_refreshed_before_it_expires_by_one_reader() -> (
    None
):
    async with two_replicas() as pair:
        pair.source.held = True
        first = pair.get(pair.one)
        await loop_turns()
        pair.clock.advance(5)  # what the fetch takes
        pair.source.answer()
        assert await first == 1
        pair.source.versions["a"] = 2
        pair.clock.advance(TTL - 1e-6)
        reads = [pair.get(cache) for cache in (pair.one, pair.two) for _ in range(20)]
        await loop_turns()
        assert len(pair.source.waiting) == 1
        done = [read.result() for read in reads if read.done()]
        assert done == [1] * len(done)
        assert len(done) >= 20, "only callers in the refreshing reader's own batch wait with it"
        pair.source.answer()
        await asyncio.gather(*reads)
        assert pair.source.fetches == 2
        assert await pair.get(pair.two) == 2


async def test_a_refresh_that_fails_returns_the_old_value_and_one_that_finds_none_raises() -> None:
    async with two_replicas() as pair:

        async def broken() -> int:
            raise Error(Code.UNAVAILABLE, "unavailable")

        async def gone() -> int:
            raise NotFound

        await pair.get(pair.one)
        pair.clock.jump(TTL)  # it has expired by this machine's wall clock
        assert await pair.one.get_or_fetch("a", broken) == 1
        pair.clock.advance(20)  # until the lease of the failed fetch has expired
        with pytest.raises(NotFound):
            await pair.one.get_or_fetch("a", gone)
        assert not pair.store.values


async def test_an_error_of_the_fetch_reaches_each_caller_and_is_not_cached() -> None:
    async with two_replicas() as pair:

        async def broken() -> int:
            await asyncio.sleep(0)
            raise Error(Code.INTERNAL, "broken")

        results = await asyncio.gather(
            *(pair.one.get_or_fetch("a", broken) for _ in range(5)), return_exceptions=True
        )
        assert [str(result) for result in results] == ["broken"] * 5
        assert await pair.get(pair.one) == 1


async def test_a_value_that_is_too_large_is_not_stored() -> None:
    pair = Replicas()
    small = CacheSettings(ttl=TTL, max_value_bytes=1000)
    cache = CacheAside(pair.store, pair.log, pair.clock, name="n", type=str, settings=small)

    async def fetch() -> str:
        return "x" * 1000

    assert await cache.get_or_fetch("a", fetch) == "x" * 1000
    assert not pair.store.values
    await cache.stop()


async def test_a_stopped_cache_goes_to_the_source() -> None:
    async with two_replicas() as pair:
        await pair.get(pair.one)
        await pair.one.stop()
        assert await pair.get(pair.one) == 1
        await pair.write(pair.one, 2)
        await pair.one.start()
        assert await pair.get(pair.one) == 2


async def test_a_deadline_that_expires_before_the_change_is_raised() -> None:
    async with two_replicas() as pair:

        async def never(changes: object) -> list[bool]:
            await asyncio.Event().wait()
            return []

        stuck = StoreWithChange(pair.store, never)
        cache = CacheAside(
            stuck, pair.log, pair.clock, name="n", type=int, settings=CacheSettings(ttl=TTL)
        )
        with pytest.raises(Error) as caught:
            async with fail_after(0.01, "the request"):
                await pair.write(cache, 2)
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert pair.source.versions["a"] == 1
        stopping = asyncio.create_task(cache.stop())
        await loop_turns()
        stopping.cancel()
        await asyncio.wait({stopping})


class StoreWithChange(MemoryStore):
    """A store whose `change` is the test's."""

    def __init__(self, store: MemoryStore, change: Callable[..., object]) -> None:
        super().__init__(store.clock)
        self.change = change  # type: ignore[method-assign,assignment] # the seam of this test


async def test_a_change_cancelled_at_any_await_leaves_nothing_stale() -> None:
    async with two_replicas() as pair:

        async def work() -> None:
            pair.source.versions["a"] += 1
            async with pair.one.invalidating("a"):
                await asyncio.sleep(0)
                pair.source.versions["a"] += 1
                await asyncio.sleep(0)

        async def check() -> None:
            await until_delivered(pair.one)
            assert await pair.get(pair.one) == pair.source.versions["a"]
            assert await pair.get(pair.two) == pair.source.versions["a"]
            pair.store.forget()
            await pair.get(pair.one)

        await check()
        assert await cancel_at_every_await(work, check) > 3


async def test_a_read_cancelled_at_any_await_affects_no_other() -> None:
    async with two_replicas() as pair:

        async def check() -> None:
            pair.store.forget()
            assert await pair.get(pair.one) == 1
            pair.store.forget()

        awaits = await cancel_at_every_await(lambda: read(pair), check)
        assert awaits >= 3


async def read(pair: Replicas) -> int:
    return await pair.one.get_or_fetch("a", partial(pair.source.fetch, "a"))


@dataclass(frozen=True)
class OutOfRange:
    id: str
    settings: Callable[[], CacheSettings]


@pytest.mark.parametrize(
    "case",
    [
        OutOfRange("no time to live", lambda: CacheSettings(ttl=0)),
        OutOfRange("all of it jitter", lambda: CacheSettings(ttl=1, jitter=1)),
        OutOfRange("negative jitter", lambda: CacheSettings(ttl=1, jitter=-0.1)),
        OutOfRange("no lease", lambda: CacheSettings(ttl=1, lease_ttl=0)),
        OutOfRange("no block", lambda: CacheSettings(ttl=1, block_ttl=0)),
        OutOfRange("no pause between retries", lambda: CacheSettings(ttl=1, retry_interval=0)),
    ],
    ids=lambda case: case.id,
)
def test_settings_out_of_range_are_refused(case: OutOfRange) -> None:
    with pytest.raises(ValueError, match=r"must be above 0|at least 0 and below 1"):
        case.settings()
