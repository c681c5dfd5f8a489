"""What the coalescer costs a call that has nobody beside it: the same query with it and without.

In process and one call at a time, the two taking turns by the hundred on the same pool, so that
what slows one slows both. ``with`` is what a repository does: one ``= ANY`` for the keys at hand.
Two baselines: the same ``= ANY`` statement with one key (what the target compares: the coalescer's
own cost) and a plain ``id = $1``. ``python bench/coalesce.py DATABASE_URL`` reads the first
record's id and prints one JSON line, in microseconds; ``--quick`` only looks whether it works.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import cycle
from statistics import median
from time import perf_counter
from uuid import UUID

import uvloop

from paceline.coalesce import ReadCoalescer
from paceline.postgres import Pool, PoolSettings

_BLOCK, _BLOCKS, _QUICK_BLOCKS = 100, 60, 1


async def measure(database_url: str, blocks: int) -> dict[str, float]:
    """Medians of a call in µs, and ratios that are medians of each block's own."""
    pool = Pool(database_url, PoolSettings(max_size=2, min_size=1, application_name="bench"))
    await pool.start()
    try:
        ids = [row["id"] for row in await pool.fetch("SELECT id FROM records LIMIT 1000")]
        return await _compare(pool, ids, blocks)
    finally:
        await pool.stop()


async def _compare(pool: Pool, ids: Sequence[UUID], blocks: int) -> dict[str, float]:
    async def fetch(keys: Sequence[UUID]) -> Mapping[UUID, object]:
        rows = await pool.fetch(
            "SELECT id, name, metadata, data, version, created_at, updated_at"
            " FROM records WHERE id = ANY($1)",
            keys,
        )
        return {row["id"]: row for row in rows}

    async def any_of_one(key: UUID) -> object:
        return (await fetch([key]))[key]

    async def by_id(key: UUID) -> object:
        return await pool.fetchrow(
            "SELECT id, name, metadata, data, version, created_at, updated_at"
            " FROM records WHERE id = $1",
            key,
        )

    coalescer = ReadCoalescer(fetch, name="bench")
    ways = {"coalesced": coalescer.call, "any": any_of_one, "by_id": by_id}
    times: dict[str, list[float]] = {name: [] for name in ways}
    next_id = cycle(ids).__next__
    for number in range(blocks + 3):
        order = list(ways)[number % 3 :] + list(ways)[: number % 3]
        for name in order:
            seconds = await _block(ways[name], next_id)
            if number >= 3:  # noqa: PLR2004 - the first ones warm up
                times[name].append(seconds)
    await coalescer.stop()
    return {f"{name}_us": median(taken) * 1e6 for name, taken in times.items()} | {
        f"ratio_{name}": median(
            one / other for one, other in zip(times["coalesced"], times[name], strict=True)
        )
        for name in ("any", "by_id")
    }


async def _block(way: Callable[[UUID], Awaitable[object]], next_id: Callable[[], UUID]) -> float:
    """The median seconds of a call."""
    taken: list[float] = []
    for _ in range(_BLOCK):
        key = next_id()
        began = perf_counter()
        await way(key)
        taken.append(perf_counter() - began)
    return median(taken)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        number = _QUICK_BLOCKS if "--quick" in sys.argv else _BLOCKS
        sys.stdout.write(json.dumps(runner.run(measure(sys.argv[1], number))) + "\n")
