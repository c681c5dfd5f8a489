"""A Redis that is restarted, frozen or down; and the cache and the shared limits over it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest
from manual_source import ManualSource, loop_turns, until_delivered
from valkey import Valkey, redis_server

from paceline.clock import SystemClock
from paceline.errors import Error
from paceline.redis import CacheAside, CacheSettings, Redis, RedisStore, Script, SharedLimiter
from paceline.resilience.rate_limit import RateLimitDecision, RateLimiter
from paceline.testing import RecordingLog
from paceline.testing.cancel import cancel_at_every_await

__all__ = ["redis_server"]
pytestmark = pytest.mark.integration

DOWN = "unix:///nonexistent/socket"


@asynccontextmanager
async def connected(
    url: str, *, command_timeout: float = 5.0, reset_timeout: float = 0.05, required: bool = False
) -> AsyncGenerator[tuple[Redis, RecordingLog]]:
    log = RecordingLog()
    redis = Redis(
        url,
        log,
        SystemClock(),
        timeout=command_timeout,
        reset_timeout=reset_timeout,
        required=required,
    )
    await redis.start()
    try:
        yield redis, log
    finally:
        await redis.stop()


def cache_of(redis: Redis, name: str, *, ttl: float = 60.0) -> CacheAside[int]:
    store = RedisStore(redis, name=name)
    return CacheAside(
        store, RecordingLog(), SystemClock(),
        name="n", type=int, settings=CacheSettings(ttl=ttl, retry_interval=0.01),
    )  # fmt: skip


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
        async with connected(DOWN) as (redis, _):
            with pytest.raises(Error, match="redis is not available"):
                await redis.get_many(["a"])
        with pytest.raises(Error):
            async with connected(DOWN, required=True):
                pass

    async def test_it_may_be_started_and_stopped_repeatedly(self, redis: Valkey) -> None:
        client = Redis(redis.url, RecordingLog(), SystemClock(), timeout=5.0)
        await client.stop()
        for _ in range(3):
            await client.start()
            await client.start()
            assert [*await client.get_many(["a", "b"])] == [None, None]
            await client.stop()
            await client.stop()
            with pytest.raises(Error, match="stopped"):
                await client.ping()

    async def test_a_restart_between_two_commands_is_not_noticed(self, redis: Valkey) -> None:
        script = Script("return {1, 2}")
        async with connected(redis.url) as (client, log):
            await asyncio.gather(*(client.run(script, [], []) for _ in range(8)))
            redis.restart()
            found = await asyncio.gather(*(client.run(script, [], []) for _ in range(8)))
            assert [*map(list, found)] == [[1, 2]] * 8
            assert log.lines == []

    async def test_while_it_is_down_calls_fail_at_once_and_one_warning_is_logged(
        self, redis: Valkey
    ) -> None:
        async with connected(redis.url, reset_timeout=0.2) as (client, log):
            redis.stop()
            try:
                for _ in range(50):
                    assert not await answers(client)
                assert log.events("warning") == ["redis is unavailable"]
                states = [client.breaker.closed]
            finally:
                redis.start()
            await until_it_answers(client)
            assert [*states, client.breaker.closed] == [False, True]
            assert log.events("info") == ["redis is available again"]

    async def test_a_frozen_server_costs_a_few_timeouts_in_all(self, redis: Valkey) -> None:
        async with connected(redis.url, command_timeout=0.1, reset_timeout=0.5) as (client, log):
            await until_it_answers(client)
            with redis.frozen():
                began = time.monotonic()
                await asyncio.gather(*(answers(client) for _ in range(200)))
                first = time.monotonic() - began
                began = time.monotonic()
                for _ in range(1000):
                    await answers(client)
                rest = time.monotonic() - began
            assert first < 3.0, "with eight connections, two rounds of timeouts at most"
            assert rest < 1.0, "one probe in half a second"
            await until_it_answers(client)
            assert (log.events("warning"), log.events("info")) == (
                ["redis is unavailable"],
                ["redis is available again"],
            )

    async def test_an_error_reply_is_logged_once_and_does_not_open_the_breaker(
        self, redis: Valkey
    ) -> None:
        async with connected(redis.url) as (client, log):
            for _ in range(10):
                with pytest.raises(Error):
                    await client.run(Script("return redis.call('NOSUCH')"), [], [])
            assert client.breaker.closed
            assert log.events("warning") == ["redis refuses a command"]

    async def test_cancelled_at_any_await_no_reply_reaches_the_wrong_caller(
        self, redis: Valkey
    ) -> None:
        echo = Script("return {ARGV[1]}")
        number = 0
        async with connected(redis.url) as (client, _):

            async def work() -> object:
                return await client.run(echo, [], ["of a cancelled caller"])

            async def check() -> None:
                nonlocal number
                for _ in range(3):
                    number += 1
                    assert [*await client.run(echo, [], [number])] == [str(number).encode()]

            await check()
            assert await cancel_at_every_await(work, check) >= 1


class TestCacheAside:
    async def test_a_fill_that_was_sent_when_the_server_froze_does_not_bring_back_a_stale_value(
        self, redis: Valkey
    ) -> None:
        name = uuid4().hex
        source = ManualSource({"a": 1}, held=True)
        async with (
            connected(redis.url, command_timeout=0.2) as (slow, _),
            connected(redis.url, command_timeout=10.0) as (patient, _),
        ):
            reader, writer = cache_of(slow, name), cache_of(patient, name)
            old = asyncio.create_task(reader.get_or_fetch("a", partial(source.fetch, "a")))
            await until(lambda: len(source.waiting) == 1)
            with redis.frozen():
                invalidating = writer.invalidating("a")
                entering = asyncio.create_task(invalidating.__aenter__())
                await loop_turns()
                source.versions["a"] = 2
                source.answer()
                assert await old == 1  # its fill is in the frozen server's socket, behind the block
            await entering
            await invalidating.__aexit__(None, None, None)
            source.held = False
            await until_it_answers(slow)
            assert await writer.get_or_fetch("a", partial(source.fetch, "a")) == 2
            assert await reader.get_or_fetch("a", partial(source.fetch, "a")) == 2
            await asyncio.gather(reader.stop(), writer.stop())

    async def test_many_readers_and_writers_see_nothing_older_than_acknowledged_changes(
        self, redis: Valkey
    ) -> None:
        name = uuid4().hex
        source = ManualSource({"a": 0})
        acknowledged = 0
        async with connected(redis.url) as (one, _), connected(redis.url) as (two, _):
            caches = [cache_of(one, name), cache_of(two, name)]

            async def write(cache: CacheAside[int]) -> None:
                nonlocal acknowledged
                for _ in range(100):
                    async with cache.invalidating("a"):
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

    async def test_while_it_is_frozen_or_down_reads_and_changes_proceed(
        self, redis: Valkey
    ) -> None:
        source = ManualSource({"a": 1})
        async with connected(redis.url, command_timeout=0.1) as (client, _):
            cache = cache_of(client, uuid4().hex)
            assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == 1
            with redis.frozen():
                for version in range(2, 30):
                    async with cache.invalidating("a"):
                        source.versions["a"] = version
                    assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == version
            redis.restart()
            for version in range(30, 60):
                async with cache.invalidating("a"):
                    source.versions["a"] = version
                assert await cache.get_or_fetch("a", partial(source.fetch, "a")) == version
            await until_it_answers(client)
            await until_delivered(cache)
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
        async with connected(redis.url) as (one, _), connected(redis.url) as (two, _):
            pair = [self.limiter(client, name, rate=0.001, burst=100) for client in (one, two)]
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

    async def test_in_any_window_no_more_than_burst_and_rate_pass(self, redis: Valkey) -> None:
        name = uuid4().hex
        async with connected(redis.url) as (one, _), connected(redis.url) as (two, _):
            pair = [self.limiter(client, name, rate=500, burst=20) for client in (one, two)]
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

    async def test_a_caller_that_waits_for_retry_after_is_allowed(self, redis: Valkey) -> None:
        async with connected(redis.url) as (client, _):
            limiter = self.limiter(client, uuid4().hex, rate=50, burst=1)
            assert (await limiter.take("a")).allowed
            for _ in range(3):
                refused = await limiter.take("a")
                assert not refused.allowed
                await asyncio.sleep(refused.retry_after + 0.001)
                assert (await limiter.take("a")).allowed
            await limiter.stop()

    async def test_without_a_server_it_falls_back_to_the_local_limiter_and_returns(
        self, redis: Valkey
    ) -> None:
        async with connected(redis.url, command_timeout=0.2) as (client, _):
            limiter = self.limiter(client, uuid4().hex, rate=0.001, burst=10)

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
            await until_it_answers(client)
            assert await allowed(30) == 10, "the server was restarted, and its buckets are full"
            with redis.frozen():
                assert await allowed(3) == 0, "the local bucket is still empty"
            await until_it_answers(client)
            assert await allowed(3) == 0
            await limiter.stop()

    async def test_a_cost_above_the_burst_and_settings_out_of_range_are_refused(self) -> None:
        async with connected(DOWN) as (client, _):
            limiter = self.limiter(client, "n", rate=1, burst=2)
            for cost in (0.0, -1.0, 2.5, float("nan")):
                with pytest.raises(ValueError, match="cost"):
                    await limiter.take("a", cost)
            with pytest.raises(ValueError, match="rate"):
                SharedLimiter(client, RateLimiter(SystemClock(), rate=1), rate=0)
            with pytest.raises(ValueError, match="burst"):
                SharedLimiter(client, RateLimiter(SystemClock(), rate=1), rate=1, burst=0.5)
            await limiter.stop()
