"""``kill -9`` of the process that runs NATS and Valkey: both end, and no message is lost."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_clients import connect_nats, connect_redis
from engine_support import is_gone

from paceline.engines import EngineGroup, NatsEngine, RedisEngine
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[1] / "tools" / "engines_holder.py"


@contextmanager
def killed_engines(folder: Path) -> Generator[list[int]]:
    """The pids of servers on the folder, whose parent is killed at the end of the block."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
    )
    with process:
        try:
            assert process.stdout is not None
            yield [int(word) for word in process.stdout.readline().split()]
        finally:
            process.kill()


def wait_until_gone(pids: list[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not all(is_gone(pid) for pid in pids):
        assert time.monotonic() < end, pids
        os.sched_yield()


def engines_on(folder: Path) -> tuple[NatsEngine, RedisEngine]:
    return (
        NatsEngine(RecordingLog(), data_dir=folder / "nats"),
        RedisEngine(RecordingLog(), data_dir=folder / "redis"),
    )


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_no_process_is_left(frozen: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    with killed_engines(tmp_path) as pids:
        assert len(pids) == 2
        if frozen:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
    wait_until_gone(pids, seconds=5)


def test_a_start_right_after_the_kill_finds_every_acknowledged_message(tmp_path: Path) -> None:
    nats, _ = engines_on(tmp_path)
    for before in range(0, 30, 10):
        with killed_engines(tmp_path):
            asyncio.run(publish_ten(nats.url, create=before == 0))
        assert asyncio.run(messages_in(tmp_path)) == before + 10


async def publish_ten(url: str, *, create: bool) -> None:
    async with connect_nats(url) as streams:
        if create:
            await streams.create("KEPT", "kept")
        for _ in range(10):
            await streams.publish("kept", b"x")


async def messages_in(folder: Path) -> int:
    nats, redis = engines_on(folder)
    together = EngineGroup([nats, redis])
    await together.start()
    try:
        async with connect_nats(nats.url) as streams, connect_redis(redis.url) as cache:
            assert await cache.ping()
            return await streams.count("KEPT")
    finally:
        await together.stop()
