"""Workers that accept from one socket share its connections, and a stopped one starves nobody."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from running_supervisor import PATIENCE, Supervisor, ask_on, supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

CLIENTS = 64
TOLERANCE = 2
TURNS = 5
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connections(port: int, number: int, *, burst: bool) -> AsyncGenerator[list[Pair]]:
    """Open connections, all at once or one after another; each has been answered when it yields."""
    opened: list[Pair] = []

    async def open_one() -> None:
        pair = await asyncio.open_connection("127.0.0.1", port)
        opened.append(pair)
        await ask_on(*pair)

    try:
        if burst:
            await asyncio.gather(*(open_one() for _ in range(number)))
        else:
            for _ in range(number):
                await open_one()
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def distribution(pairs: Sequence[Pair]) -> Counter[int]:
    """How many connections each process has."""
    return Counter([await ask_on(*pair) for pair in pairs])


def is_even(found: Counter[int], workers: int) -> bool:
    share = CLIENTS // workers
    return len(found) == workers and all(abs(n - share) <= TOLERANCE for n in found.values())


@pytest.mark.parametrize("burst", [True, False], ids=["in a burst", "one by one"])
@pytest.mark.parametrize("workers", [2, 4])
async def test_each_worker_has_its_share_of_the_connections(
    tmp_path: Path, workers: int, *, burst: bool
) -> None:
    async with supervisor(tmp_path, workers=workers) as running:
        await running.until_said("ready")
        turns: list[Counter[int]] = []
        for _ in range(TURNS):  # what a turn before has left does not count
            async with connections(running.port, CLIENTS, burst=burst) as pairs:
                turns.append(await distribution(pairs))
        # Where the machine lets a worker wait for its processor, others take its clients.
        assert sum(is_even(found, workers) for found in turns) > TURNS / 2, turns


async def test_a_stopped_worker_starves_nobody_and_gets_its_share_afterwards(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        frozen, other = running.pids()
        os.kill(frozen, signal.SIGSTOP)
        try:
            start = monotonic()
            async with connections(running.port, CLIENTS, burst=True) as pairs:
                assert await distribution(pairs) == {other: CLIENTS}
            assert monotonic() - start < PATIENCE / 10
        finally:
            os.kill(frozen, signal.SIGCONT)
        await both_answer(running)
        async with connections(running.port, CLIENTS, burst=False) as pairs:
            found = await distribution(pairs)
        assert found[frozen] > CLIENTS / 3, found


async def both_answer(running: Supervisor) -> None:
    async with asyncio.timeout(PATIENCE):
        seen: set[int] = set()
        while len(seen) < 2:
            async with connections(running.port, 8, burst=True) as pairs:
                seen |= (await distribution(pairs)).keys()


async def test_a_worker_that_replaces_a_killed_one_catches_up(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        victim, other = running.pids()
        async with connections(running.port, CLIENTS // 2, burst=True) as before:
            os.kill(victim, signal.SIGKILL)
            await running.until_said("worker ready", times=3)
            kept = [pair for pair in before if await answers(pair)]
            async with connections(running.port, CLIENTS - len(kept), burst=True) as more:
                found = await distribution([*kept, *more])
    assert set(found) == {other, running.pids()[-1]}
    assert found[running.pids()[-1]] > CLIENTS / 3, found


async def answers(pair: Pair) -> bool:
    try:
        await ask_on(*pair)
    except (ConnectionError, asyncio.IncompleteReadError):
        return False
    return True
