"""A worker whose event loop does not run is replaced, and others answer meanwhile."""

import asyncio
import os
import signal
from pathlib import Path
from time import monotonic

import pytest
from running_supervisor import Supervisor, supervisor

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

WITHIN = 10.0  # seconds from the freeze to the successor


async def until_replaced(running: Supervisor, silent: int) -> None:
    """The silent one is killed and another one is ready, in time."""
    began = monotonic()
    await running.until_said("worker ready", times=3)
    taken = monotonic() - began
    (killed,) = running.lines("worker is silent and is killed")
    assert killed["pid"] == silent
    assert (running.lines("worker died")[0]["pid"], taken < WITHIN) == (silent, True), taken
    assert silent not in running.children()


async def test_a_frozen_worker_is_replaced_and_probes_are_answered_meanwhile(
    tmp_path: Path,
) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        frozen, other = running.pids()
        os.kill(frozen, signal.SIGSTOP)
        replacing = asyncio.create_task(until_replaced(running, frozen))
        slowest = 0.0
        while not replacing.done():
            began = monotonic()
            assert await running.ask() != frozen
            slowest = max(slowest, monotonic() - began)
            await asyncio.sleep(0.05)
        await replacing
        assert slowest < 1.0
        assert other in running.children()


async def test_a_worker_that_spins_is_replaced(tmp_path: Path) -> None:
    async with supervisor(tmp_path) as running:
        await running.until_said("ready")
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"GET /spin HTTP/1.1\r\nhost: a\r\n\r\n")
        await running.until_said("worker is silent and is killed")
        silent = int(str(running.lines("worker is silent and is killed")[0]["pid"]))
        await until_replaced(running, silent)
        writer.close()
