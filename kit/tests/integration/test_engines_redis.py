"""The embedded Redis-compatible server: starts, stops, kills, memory limits, deep folders."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from engine_clients import RedisClient, connect_redis
from engine_support import folder

from paceline.engines import EngineError, RedisEngine
from paceline.lifecycle import Watched
from paceline.testing import RecordingLog

__all__ = ["folder"]

pytestmark = pytest.mark.integration


def new_engine(folder: Path) -> RedisEngine:
    return RedisEngine(RecordingLog(), data_dir=folder / "data")


@asynccontextmanager
async def running(engine: RedisEngine) -> AsyncGenerator[RedisClient]:
    await engine.start()
    try:
        async with connect_redis(engine.url) as client:
            yield client
    finally:
        await engine.stop()


async def test_nothing_is_stored_beyond_a_stop(folder: Path) -> None:
    lines: list[str] = []
    engine = RedisEngine(RecordingLog(), data_dir=folder / "data", progress=lines.append)
    address = engine.url
    async with running(engine) as client:
        await client.set("k", "v")
        assert await client.get("k") == b"v"
    assert [line.split()[0] for line in lines] == ["starting", "Valkey"]
    assert engine.pid is None
    async with running(engine) as client:
        assert await client.get("k") is None
    assert engine.url == address
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names == ["lock", "server.log", "server.log.1"]


async def test_memory_is_bounded_by_eviction(folder: Path) -> None:
    async with running(new_engine(folder)) as client:
        assert await client.setting("maxmemory") == str(64 * 1024 * 1024)
        assert await client.setting("maxmemory-policy") == "allkeys-lru"


async def test_settings_can_be_overridden(folder: Path) -> None:
    engine = RedisEngine(
        RecordingLog(),
        data_dir=folder,
        max_memory=2**21,
        options={"maxmemory-policy": "noeviction"},
    )
    async with running(engine) as client:
        assert await client.setting("maxmemory") == str(2**21)
        assert await client.setting("maxmemory-policy") == "noeviction"


async def test_only_the_current_account_may_connect_and_only_by_the_socket(folder: Path) -> None:
    async with running(new_engine(folder)) as client:
        assert await client.setting("port") == "0"
        assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "data" / "valkey.sock").stat().st_mode) == 0o700


async def test_start_and_stop_ten_times(folder: Path) -> None:
    engine = new_engine(folder)
    for _ in range(10):
        async with running(engine) as client:
            assert await client.ping()


async def test_a_killed_server_is_an_error_and_the_next_start_works(folder: Path) -> None:
    engine = new_engine(folder)
    assert isinstance(engine, Watched)
    await engine.start()
    watch = asyncio.create_task(engine.wait())
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match=r"(?s)Redis ended by itself.*Ready to accept"):
        await watch
    await engine.stop()
    async with running(engine) as client:
        assert await client.ping()


async def test_a_setting_that_the_server_refuses_is_in_the_error(folder: Path) -> None:
    engine = RedisEngine(RecordingLog(), data_dir=folder, options={"maxclients": "many"})
    with pytest.raises(EngineError, match=r"(?s)ended by itself.*maxclients"):
        await engine.start()
    assert engine.pid is None


@pytest.mark.parametrize("name", ["d" * 120, "with space, \"comma\" & 'quote'", "ünïcode"])
async def test_any_name_of_a_folder_works(name: str, folder: Path) -> None:
    engine = new_engine(folder / name)
    async with running(engine) as client:
        assert await client.ping()
        link = Path(engine.url.removeprefix("unix://")).parent
    assert not link.is_symlink(), "the short way goes with the server"
