"""A connection before its version is known: pieces, silence, and a stop of the server."""

import asyncio

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from http_wire import GET, PATIENCE, Held, echo, hello, serving, until

from paceline.http.server import ServerLimits

pytestmark = pytest.mark.integration

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
QUICK = ServerLimits(read_timeout=0.2, idle_timeout=0.4)


@pytest.mark.parametrize("method", ["POST", "PRI", "PROPFIND", "GET"])
async def test_a_request_that_arrives_byte_by_byte_is_read_whole(method: str) -> None:
    async with serving(echo) as served:
        client = await served.connect()
        for byte in method.encode() + b" /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nb":
            client.send(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        answer = await client.answer()
    if method == "PRI":  # the preface's method is none of HTTP/1.1
        assert answer.status == 400
    else:
        assert (answer.status, answer.body) == (200, method.encode() + b" /a  b")


@pytest.mark.parametrize("size", [1, 4, 14, 23])
async def test_half_a_preface_ends_by_the_read_timeout(size: int) -> None:
    async with serving(hello, QUICK) as served:
        client = await served.connect()
        start = asyncio.get_running_loop().time()
        client.send(PREFACE[:size])
        answer = await client.answer()
        assert await client.read_to_end() == b""
        took = asyncio.get_running_loop().time() - start
        assert served.server.connections == 0
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert took >= QUICK.read_timeout
    assert served.log.lines == []


async def test_pieces_of_a_preface_do_not_prolong_the_read_timeout() -> None:
    async with serving(hello, QUICK) as served:
        client = await served.connect()
        start = asyncio.get_running_loop().time()
        ended = asyncio.create_task(client.read_to_end())
        for byte in PREFACE[:-1]:
            if ended.done():
                break
            client.send(bytes((byte,)))
            await asyncio.wait([ended], timeout=QUICK.read_timeout / 4)
        assert (await ended).startswith(b"HTTP/1.1 408 ")
        assert asyncio.get_running_loop().time() - start < QUICK.read_timeout * 4


async def test_a_connection_without_a_byte_ends_by_the_idle_timeout() -> None:
    async with serving(hello, QUICK) as served:
        client = await served.connect()
        start = asyncio.get_running_loop().time()
        assert await client.read_to_end() == b""
        assert asyncio.get_running_loop().time() - start >= QUICK.idle_timeout


async def test_a_client_that_leaves_before_its_first_byte_is_forgotten() -> None:
    async with serving(hello) as served:
        for sent in (b"", PREFACE[:5]):
            client = await served.connect()
            client.send(sent)
            await client.writer.drain()
            client.writer.close()
            await until(lambda: not served.server.connections)
        assert (await served.request(GET)).status == 200


async def test_a_stop_does_not_wait_for_a_client_that_has_sent_nothing() -> None:
    held = Held()
    async with serving(held) as served:
        idle = await served.connect()
        await until(lambda: served.server.connections == 1)
        await served.server.stop()
        assert await idle.read_to_end() == b""
        assert held.calls == 0


async def test_a_request_that_waits_in_the_kernel_at_a_stop_is_answered() -> None:
    async with serving(hello) as served:
        client = await served.connect()
        await until(lambda: served.server.connections == 1)
        client.send(GET)
        stop = asyncio.create_task(served.server.stop())
        answer = await client.answer()
        await stop
    assert (answer.status, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize("size", [1, 3, 23, 24, 1000])
async def test_a_preface_makes_it_a_connection_of_http2_in_whatever_pieces(size: int) -> None:
    h2 = H2Connection(H2Configuration(client_side=True))
    h2.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/b")]
    h2.send_headers(1, fields, end_stream=True)
    data = h2.data_to_send()
    async with serving(echo) as served:
        client = await served.connect()
        for start in range(0, len(data), size):
            client.send(data[start : start + size])
            await client.writer.drain()
            await asyncio.sleep(0)
        body = b""
        async with asyncio.timeout(PATIENCE):
            ended = False
            while not ended:
                events = h2.receive_data(await client.reader.read(65536))
                body += b"".join(e.data for e in events if isinstance(e, DataReceived))
                ended = any(isinstance(event, StreamEnded) for event in events)
    assert body == b"GET /b  "
