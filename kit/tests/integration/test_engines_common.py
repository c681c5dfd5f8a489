"""What every embedded engine does alike: stops, refusals of a second one, folders."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_clients import connect_nats, connect_redis
from engine_support import folder

from paceline.engines import EngineError, NatsEngine, PostgresEngine, RedisEngine
from paceline.lifecycle import Watched
from paceline.postgres import connect
from paceline.testing import RecordingLog

__all__ = ["folder"]

pytestmark = pytest.mark.integration

AnyEngine = PostgresEngine | NatsEngine | RedisEngine


async def use(engine: AnyEngine) -> None:
    """One exchange with the server."""
    if isinstance(engine, NatsEngine):
        async with connect_nats(engine.url) as client:
            await client.flush()
    elif isinstance(engine, RedisEngine):
        async with connect_redis(engine.url) as cache:
            assert await cache.ping()
    else:
        connection = await connect(engine.dsn())
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


@dataclass(frozen=True)
class Kind:
    id: str
    create: Callable[[Path], AnyEngine]


KINDS = [
    Kind(
        "postgres",
        lambda data: PostgresEngine(RecordingLog(), data_dir=data, options={"fsync": "off"}),
    ),
    Kind("nats", lambda data: NatsEngine(RecordingLog(), data_dir=data)),
    Kind("redis", lambda data: RedisEngine(RecordingLog(), data_dir=data)),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.id)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


async def test_stopping_a_stopped_engine_does_nothing(kind: Kind, folder: Path) -> None:
    engine = kind.create(folder / "data")
    await engine.stop()
    await engine.start()
    await engine.stop()
    await engine.stop()
    assert engine.pid is None


async def test_a_second_engine_on_a_folder_is_refused_and_names_the_holder(
    kind: Kind, folder: Path
) -> None:
    first, second = kind.create(folder / "data"), kind.create(folder / "data")
    await first.start()
    try:
        with pytest.raises(EngineError, match=f"in use by process {os.getpid()}"):
            await second.start()
        await second.stop()
        await use(second)
        await use(first)
    finally:
        await first.stop()


async def test_waiting_for_a_server_that_is_down_is_an_error(kind: Kind, folder: Path) -> None:
    engine = kind.create(folder / "data")
    assert isinstance(engine, Watched)
    with pytest.raises(EngineError, match="not up"):
        await engine.wait()


async def test_a_data_folder_that_cannot_be_created_is_an_error_with_the_reason(
    kind: Kind, folder: Path
) -> None:
    (folder / "data").touch()
    with pytest.raises(EngineError, match=r"cannot use the data folder .*: File exists"):
        await kind.create(folder / "data").start()
