"""Redis as it is in real life: restarted, frozen, away; and the cache and the limits over it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest
from gated_source import Source, turns, until_paid
from valkey import Valkey, redis_server

from paceline.clock import SystemClock
from paceline.errors import Error
from paceline.redis import CacheAside, Redis, RedisStore, SharedLimiter
from paceline.redis.client import Script
from paceline.resilience.rate_limit import RateLimitDecision, RateLimiter
from paceline.testing import RecordingLog
from paceline.testing.cancel import cancel_at_every_await

__all__ = ["redis_server"]
pytestmark = pytest.mark.integration

AWAY = "unix:///nonexistent/socket"


@asynccontextmanager
async def client(
    url: str, *, patience: float = 5.0, rest: float = 0.05, required: bool = False
) -> AsyncGenerator[tuple[Redis, RecordingLog]]:
    log = RecordingLog()
    redis = Redis(url, log, SystemClock(), timeout=patience, rest=rest, required=required)
    await redis.start()
    try:
        yield redis, log
    finally:
        await redis.stop()


def cache_of(redis: Redis, name: str, *, ttl: float = 60.0) -> CacheAside[int]:
    store = RedisStore(redis, name=name)
    return CacheAside(store, RecordingLog(), SystemClock(), name="n", type=int, ttl=ttl, retry=0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def answers(redis: Redis) -> bool:
    try:
        await redis.ping()
    except Error:
        return False
    return True


async def until_it_answers(redis: Redis) -> None:
    async with asyncio.timeout(20):
        while not await answers(redis):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


class TestRedis:
    async def test_it_starts_without_a_server_unless_it_is_required(self) -> None:
        async with client(AWAY) as (redis, _):
            with pytest.raises(Error, match="redis is not available"):
                await redis.get_many(["a"])
        with pytest.raises(Error):
            async with client(AWAY, required=True):
                pass

    async def test_it_may_be_started_and_stopped_again_and_again(self, redis: Valkey) -> None:
        mine = Redis(redis.url, RecordingLog(), SystemClock(), timeout=5.0)
        await mine.stop()
        for _ in range(3):
            await mine.start()
            await mine.start()
            assert [*await mine.get_many(["a", "b"])] == [None, None]
            await mine.stop()
            await mine.stop()
            with pytest.raises(Error, match="stopped"):
                await mine.ping()

    async def test_a_restart_between_two_commands_is_not_noticed(self, redis: Valkey) -> None:
        script = Script("return {1, 2}")
        async with client(redis.url) as (mine, log):
            await asyncio.gather(*(mine.run(script, [], []) for _ in range(8)))
            redis.restart()
            found = await asyncio.gather(*(mine.run(script, [], []) for _ in range(8)))
            assert [*map(list, found)] == [[1, 2]] * 8
            assert log.lines == []

    async def test_when_it_is_away_calls_fail_at_once_and_it_is_told_once(
        self, redis: Valkey
    ) -> None:
        async with client(redis.url, rest=0.2) as (mine, log):
            redis.stop()
            try:
                for _ in range(50):
                    assert not await answers(mine)
                assert log.events("warning") == ["redis is away"]
                states = [mine.breaker.closed]
            finally:
                redis.start()
            await until_it_answers(mine)
            assert [*states, mine.breaker.closed] == [False, True]
            assert log.events("info") == ["redis is back"]

    async def test_a_frozen_server_costs_a_few_timeouts_and_then_nothing(
        self, redis: Valkey
    ) -> None:
        async with client(redis.url, patience=0.1, rest=0.5) as (mine, log):
            await until_it_answers(mine)
            with redis.frozen():
                began = time.monotonic()
                await asyncio.gather(*(answers(mine) for _ in range(200)))
                first = time.monotonic() - began
                began = time.monotonic()
                for _ in range(1000):
                    await answers(mine)
                rest = time.monotonic() - began
            assert first < 3.0, "with eight connections, two rounds of timeouts at most"
            assert rest < 1.0, "one probe in half a second"
            await until_it_answers(mine)
            assert (log.events("warning"), log.events("info")) == (
                ["redis is away"],
                ["redis is back"],
            )

    async def test_a_refusal_is_told_once_and_does_not_open_the_breaker(
        self, redis: Valkey
    ) -> None:
        async with client(redis.url) as (mine, log):
            for _ in range(10):
                with pytest.raises(Error):
                    await mine.run(Script("return redis.call('NOSUCH')"), [], [])
            assert mine.breaker.closed
            assert log.events("warning") == ["redis refuses a command"]

    async def test_cancelled_anywhere_no_answer_reaches_the_wrong_caller(
        self, redis: Valkey
    ) -> None:
        echo = Script("return {ARGV[1]}")
        number = 0
        async with client(redis.url) as (mine, _):

            async def work() -> object:
                return await mine.run(echo, [], ["of somebody who left"])

            async def check() -> None:
                nonlocal number
                for _ in range(3):
                    number += 1
                    assert [*await mine.run(echo, [], [number])] == [str(number).encode()]

            await check()
            assert await cancel_at_every_await(work, check) >= 1


class TestAside:
    async def test_a_fill_that_was_on_its_way_when_the_server_froze_cannot_resurrect(
        self, redis: Valkey
    ) -> None:
        name = uuid4().hex
        source = Source({"a": 1}, gated=True)
        async with (
            client(redis.url, patience=0.2) as (slow, _),
            client(redis.url, patience=10.0) as (patient, _),
        ):
            reader, writer = cache_of(slow, name), cache_of(patient, name)
            old = asyncio.create_task(reader.get_or_fetch("a", partial(source.fetch, "a")))
            await until(lambda: len(source.waiting) == 1)
            with redis.frozen():
                changing = writer.changing("a")
                entering = asyncio.create_task(changing.__aenter__())
                await turns()
                source.versions["a"] = 2
                source.release()
                assert await old == 1  # its fill is in the frozen server's socket, behind the block
            await entering
            await changing.__aexit__(None, None, None)
            source.gated = False
            await until_it_answers(slow)
            assert await writer.get_or_fetch("a", partial(source.fetch, "a")) == 2
            assert await reader.get_or_fetch("a", partial(source.fetch, "a")) == 2
            await asyncio.gather(reader.stop(), writer.stop())

    async def test_many_readers_and_writers_see_nothing_older_than_what_was_acknowledged(
        self, redis: Valkey
    ) -> None:
        name = uuid4().hex
        source = Source({"a": 0})
        acknowledged = 0
        async with client(redis.url) as (one, _), client(redis.url) as (two, _):
            caches = [cache_of(one, name), cache_of(two, name)]

            async def write(cache: CacheAside[int]) -> None:
                nonlocal acknowledged
                for _ in range(100):
                    async with cache.changing("a"):
                        source.versions["a"] += 1
                        version = source.versions["a"]
                    acknowledged = max(acknowledged, version)

            async def read(cache: CacheAside[int]) -> None:
                while acknowledged < 200:
                    least = acknowledged
                    found = await cache.get_or_fetch("a", partial(source.fetch, "a"))
                    assert found >= least

            await asyncio.gather(
                *(write(cache) for cache in caches),
                *(read(cache) for cache in caches for _ in range(8)),
            )
            for cache in caches:
                assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == 200
                await cache.stop()

    async def test_while_it_is_frozen_or_away_reads_and_changes_go_on(self, redis: Valkey) -> None:
        source = Source({"a": 1})
        async with client(redis.url, patience=0.1) as (mine, _):
            cache = cache_of(mine, uuid4().hex)
            assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == 1
            with redis.frozen():
                for version in range(2, 30):
                    async with cache.changing("a"):
                        source.versions["a"] = version
                    assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == version
            redis.restart()
            for version in range(30, 60):
                async with cache.changing("a"):
                    source.versions["a"] = version
                assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == version
            await until_it_answers(mine)
            await until_paid(cache)
            hits = cache.stats.hits
            for _ in range(10):
                assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == 59
            assert cache.stats.hits > hits
            await cache.stop()


class TestSharedLimiter:
    def limiter(self, redis: Redis, name: str, *, rate: float, burst: float) -> SharedLimiter:
        local = RateLimiter(SystemClock(), rate=rate, burst=burst)
        return SharedLimiter(redis, local, rate=rate, burst=burst, name=name)

    async def test_two_replicas_share_one_budget_exactly(self, redis: Valkey) -> None:
        name = uuid4().hex
        async with client(redis.url) as (one, _), client(redis.url) as (two, _):
            pair = [self.limiter(mine, name, rate=0.001, burst=100) for mine in (one, two)]
            decisions = await asyncio.gather(
                *(pair[n % 2].take("a") for n in range(300)), *(pair[1].take("b") for _ in "xyz")
            )
            assert sum(decision.allowed for decision in decisions[:300]) == 100
            assert sorted(d.remaining for d in decisions[:300] if d.allowed) == [*range(100)]
            assert [decision.remaining for decision in decisions[300:]] == [99, 98, 97]
            refused = next(d for d in decisions if not d.allowed)
            assert (refused.limit, refused.remaining) == (100, 0)
            assert refused.retry_after == pytest.approx(1000, abs=5)
            assert refused.reset_after == pytest.approx(100_000, abs=5)
            assert {limiter.fallbacks for limiter in pair} == {0}
            assert pair[0].stats.batches < 10
            for limiter in pair:
                await limiter.stop()

    async def test_over_a_while_no_more_than_burst_and_rate_pass(self, redis: Valkey) -> None:
        name = uuid4().hex
        async with client(redis.url) as (one, _), client(redis.url) as (two, _):
            pair = [self.limiter(mine, name, rate=500, burst=20) for mine in (one, two)]
            passed = 0
            began = time.monotonic()

            async def hammer(limiter: SharedLimiter) -> None:
                nonlocal passed
                while time.monotonic() - began < 0.5:
                    decision = await limiter.take("a")
                    passed += decision.allowed

            await asyncio.gather(*(hammer(limiter) for limiter in pair for _ in range(4)))
            lasted = time.monotonic() - began
            assert 20 + 500 * 0.5 * 0.5 < passed <= 20 + 500 * lasted + 1
            for limiter in pair:
                await limiter.stop()

    async def test_who_waits_as_told_is_let_through(self, redis: Valkey) -> None:
        async with client(redis.url) as (mine, _):
            limiter = self.limiter(mine, uuid4().hex, rate=50, burst=1)
            assert (await limiter.take("a")).allowed
            for _ in range(3):
                refused = await limiter.take("a")
                assert not refused.allowed
                await asyncio.sleep(refused.retry_after + 0.001)
                assert (await limiter.take("a")).allowed
            await limiter.stop()

    async def test_without_a_server_it_falls_back_on_its_own_and_returns(
        self, redis: Valkey
    ) -> None:
        async with client(redis.url, patience=0.2) as (mine, _):
            limiter = self.limiter(mine, uuid4().hex, rate=0.001, burst=10)

            async def allowed(times: int) -> int:
                found: list[RateLimitDecision] = [await limiter.take("a") for _ in range(times)]
                return sum(decision.allowed for decision in found)

            assert await allowed(4) == 4
            redis.stop()
            try:
                assert await allowed(30) == 10
                assert limiter.fallbacks == 30
            finally:
                redis.start()
            await until_it_answers(mine)
            assert await allowed(30) == 10, "the server was restarted, and has forgotten"
            with redis.frozen():
                assert await allowed(3) == 0, "its own bucket is still empty"
            await until_it_answers(mine)
            assert await allowed(3) == 0
            await limiter.stop()

    async def test_a_cost_that_no_wait_could_pay_and_bad_settings_are_refused(self) -> None:
        async with client(AWAY) as (mine, _):
            limiter = self.limiter(mine, "n", rate=1, burst=2)
            for cost in (0.0, -1.0, 2.5, float("nan")):
                with pytest.raises(ValueError, match="cost"):
                    await limiter.take("a", cost)
            with pytest.raises(ValueError, match="rate"):
                SharedLimiter(mine, RateLimiter(SystemClock(), rate=1), rate=0)
            with pytest.raises(ValueError, match="burst"):
                SharedLimiter(mine, RateLimiter(SystemClock(), rate=1), rate=1, burst=0.5)
            await limiter.stop()
