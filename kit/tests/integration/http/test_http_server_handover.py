"""A stop without lost requests: the queue is shared, kept connections get one more answer."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from http_wire import GET, Client, Held, hello

from paceline.http.asgi import ASGIApp
from paceline.http.server import HttpServer, ServerLimits
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

GRACE = 0.4


@asynccontextmanager
async def kept(
    app: ASGIApp = hello, *, grace: float = GRACE
) -> AsyncGenerator[tuple[HttpServer, Client]]:
    """A server, and a connection to it that has been used."""
    server = HttpServer(
        app, RecordingLog(), host="127.0.0.1", port=0, limits=ServerLimits(keep_alive_grace=grace)
    )
    await server.start()
    client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
    try:
        assert "connection" not in (await client.request(GET)).headers
        yield server, client
    finally:
        await server.stop()
        client.writer.close()


async def test_a_request_on_a_kept_connection_is_answered_while_the_server_stops() -> None:
    async with kept() as (server, client):
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        answer = await client.request(GET)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.read_to_end() == b""
        async with asyncio.timeout(GRACE / 2):  # no connection is left to wait for
            await stopping


async def test_a_silent_connection_is_closed_after_the_grace() -> None:
    async with kept() as (server, client):
        began = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(server.stop())
        assert await client.read_to_end() == b""
        assert asyncio.get_running_loop().time() - began >= GRACE * 0.9
        await stopping


async def test_a_connection_that_was_just_made_gets_its_answer_too() -> None:
    async with kept() as (server, _):
        fresh = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        while server.connections < 2:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        answer = await fresh.request(GET)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        fresh.writer.close()
        await stopping


async def test_what_has_arrived_but_was_not_read_is_answered() -> None:
    async with kept(grace=0.0) as (server, client):
        client.send(GET)  # written to the kernel at once; the server reads it in its next round
        stopping = asyncio.create_task(server.stop())
        assert (await client.answer()).status == 200
        await stopping


async def test_a_server_that_stopped_accepting_answers_once_more_and_closes() -> None:
    async with kept() as (server, client):
        port = server.port
        await server.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert (await client.request(GET)).headers["connection"] == "close"


async def test_two_servers_share_one_queue_and_the_second_takes_what_waits_in_it() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    held = Held()
    old = HttpServer(held, RecordingLog(), host="unused", port=0, listener=listener.dup())
    new = HttpServer(hello, RecordingLog(), host="unused", port=0, listener=listener.dup())
    await old.start()
    client = Client(*await asyncio.open_connection(*listener.getsockname()))
    client.send(GET)
    await held.entered.wait()
    await old.stop_accepting()
    waiting = [Client(*await asyncio.open_connection(*listener.getsockname())) for _ in range(20)]
    for each in waiting:
        each.send(GET)
    stopping = asyncio.create_task(old.stop())
    await new.start()
    for each in waiting:
        assert (await each.answer()).body == b"ok"
        each.writer.close()
    held.release.set()
    assert (await client.answer()).headers["connection"] == "close"
    client.writer.close()
    await stopping
    await new.stop()
    listener.close()


async def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    server = HttpServer(hello, RecordingLog(), host="unused", port=0, listener=listener)
    await server.start()
    client = Client(*await asyncio.open_unix_connection(str(path)))
    assert (await client.request(GET)).body == b"ok"
    client.writer.close()
    await server.stop()


async def test_a_connection_accepted_just_before_the_stop_is_answered() -> None:
    server = HttpServer(
        hello, RecordingLog(), host="127.0.0.1", port=0, limits=ServerLimits(keep_alive_grace=GRACE)
    )
    await server.start()
    # Connected by the kernel alone: the server sees it in the next round of the loop.
    raw = socket.create_connection(("127.0.0.1", server.port))
    raw.sendall(GET)
    async with asyncio.timeout(5):
        before = asyncio.all_tasks()
        while asyncio.all_tasks() <= before:  # noqa: ASYNC110 - the set-up of the connection
            await asyncio.sleep(0)
        assert server.connections == 0
        await server.stop()
        assert server.connections == 0
        reader, writer = await asyncio.open_connection(sock=raw)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
