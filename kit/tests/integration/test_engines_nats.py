"""The embedded NATS server: starts, stops, kills, stored messages, a cluster."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from engine_clients import JetStreamClient, connect_nats
from engine_support import folder
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from paceline.engines import EngineError, NatsEngine
from paceline.engines.discovery import find_on_path
from paceline.testing import RecordingLog
from paceline.testing.nats_servers import nats_cluster

__all__ = ["folder"]

pytestmark = pytest.mark.integration


def new_engine(folder: Path) -> NatsEngine:
    return NatsEngine(RecordingLog(), data_dir=folder / "data")


@asynccontextmanager
async def running(engine: NatsEngine) -> AsyncGenerator[JetStreamClient]:
    await engine.start()
    try:
        async with connect_nats(engine.url) as client:
            yield client
    finally:
        await engine.stop()


async def response(host: str | None, port: int | None, request: str) -> bytes:
    """The response, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request.encode())
    found = await reader.read()
    writer.close()
    await writer.wait_closed()
    return found


async def test_messages_stored_before_a_stop_are_there_after_the_next_start(folder: Path) -> None:
    lines: list[str] = []
    engine = NatsEngine(RecordingLog(), data_dir=folder / "data", progress=lines.append)
    address = engine.url
    async with running(engine) as client:
        await client.create("KEPT", "kept.>")
        await client.publish("kept.one", b"1")
    assert [line.split()[0] for line in lines] == ["starting", "NATS"]
    assert engine.pid is None
    async with running(engine) as client:
        assert await client.count("KEPT") == 1
    assert engine.url == address == new_engine(folder).url


async def test_acknowledged_messages_survive_a_killed_server(folder: Path) -> None:
    engine = new_engine(folder)
    await engine.start()
    watch = asyncio.create_task(engine.wait())
    async with connect_nats(engine.url) as client:
        await client.create("KEPT", "kept.>")
        for number in range(100):
            await client.publish("kept.n", str(number).encode())
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"(?s)NATS ended by itself.*Server is ready"):
            await watch
    await engine.stop()
    async with running(engine) as client:
        assert await client.count("KEPT") == 100


async def test_connections_need_the_password(folder: Path) -> None:
    engine = new_engine(folder)
    async with running(engine):
        port = urlsplit(engine.url).port
        for credentials in ("{}", '{"user":"paceline","pass":"guess"}'):
            request = f"CONNECT {credentials}\r\nPING\r\n"
            assert b"Authorization Violation" in await response("127.0.0.1", port, request)
        for name in ("password", "nats.conf"):
            assert stat.S_IMODE((folder / "data" / name).stat().st_mode) == 0o600, name
        assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700


async def test_the_monitoring_port_answers_below_its_secret_path_only(folder: Path) -> None:
    async def status(url: str) -> bytes:
        parts = urlsplit(url)
        return await response(parts.hostname, parts.port, f"GET {parts.path} HTTP/1.0\r\n\r\n")

    engine = new_engine(folder)
    async with running(engine):
        assert b'"sync_always": true' in await status(f"{engine.monitor_url}/jsz")
        bare = engine.monitor_url.rpartition("/")[0]
        assert b" 404 " in await status(f"{bare}/jsz")


async def test_start_and_stop_ten_times(folder: Path) -> None:
    engine = new_engine(folder)
    for _ in range(10):
        async with running(engine) as client:
            await client.flush()


@pytest.mark.parametrize("looks", [0, 1, 2, 5, 10])
async def test_a_cancelled_start_leaves_nothing_and_the_next_one_works(
    looks: int, folder: Path
) -> None:
    engine = new_engine(folder)
    starting = asyncio.create_task(engine.start())
    for _ in range(looks):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait({starting})
    await engine.stop()
    assert engine.pid is None
    async with running(engine) as client:
        await client.flush()


async def test_a_frozen_server_is_killed_which_is_an_error(folder: Path) -> None:
    engine = NatsEngine(RecordingLog(), data_dir=folder / "data", stop_timeout=0.2)
    await engine.start()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(EngineError, match="did not stop in time and was ended by SIGKILL"):
        await engine.stop()
    async with running(engine) as client:
        await client.flush()


async def test_a_port_in_use_is_in_the_error(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        engine = NatsEngine(RecordingLog(), data_dir=folder, port=port)
        with pytest.raises(EngineError, match=r"(?s)ended by itself.*address already in use"):
            await engine.start()
    assert engine.pid is None


async def test_port_and_payload_can_be_set(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    engine = NatsEngine(RecordingLog(), data_dir=folder, port=port, max_payload=4096)
    async with running(engine) as client:
        assert urlsplit(engine.url).port == port
        assert client.max_payload == 4096


@pytest.mark.parametrize("name", ["d" * 120, "with space, \"comma\" & 'quote' $HOME", "ünïcode"])
async def test_any_name_of_a_folder_works(name: str, folder: Path) -> None:
    async with running(new_engine(folder / name)) as client:
        await client.create("ANY", "any")
    assert (folder / name / "data" / "store" / "jetstream").is_dir()


async def test_the_systems_server_works(folder: Path) -> None:
    system = find_on_path(("nats-server",), "NATS")
    if system is None:
        pytest.skip("this system has no NATS of its own")
    async with running(NatsEngine(RecordingLog(), data_dir=folder, program=system)) as client:
        await client.flush()


@pytest.mark.timeout(120)
async def test_a_stream_of_three_nodes_takes_messages_after_one_is_killed(folder: Path) -> None:
    async with nats_cluster(folder) as engines:
        urls = [engine.url for engine in engines]
        async with connect_nats(*urls) as client:
            await client.create("THREE", "three", replicas=3)
            await client.publish("three", b"1")
        killed, *left = engines
        assert killed.pid is not None
        os.kill(killed.pid, signal.SIGKILL)
        await killed.stop()
        async with connect_nats(*(engine.url for engine in left)) as client:
            await until_published(client)
        await killed.start()
        async with connect_nats(killed.url) as client:
            assert await client.count("THREE") >= 2


async def until_published(client: JetStreamClient) -> None:
    """Until a publish is acknowledged: a new leader takes some seconds."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.publish("three", b"2", timeout=1.0)
            except (NatsError, JetStreamError):
                continue
            return
