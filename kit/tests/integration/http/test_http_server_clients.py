"""Clients that disconnect, do not read, or send more than the app reads."""

import asyncio

import pytest
from http_wire import GET, Held, read_body, send_answer, serving

from paceline.http.asgi import Receive, Scope, Send

pytestmark = pytest.mark.integration


async def test_a_disconnect_cancels_the_request_and_logs_nothing() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        client.send(GET)
        await held.entered.wait()
        client.writer.close()
        await held.ended.wait()
    assert held.cancelled == 1
    assert served.log.lines == []


async def test_a_disconnect_in_a_body_cancels_the_request() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(receive)
        finally:
            ended.set()

    async with serving(app) as served:
        client = await served.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        await client.writer.drain()
        client.writer.close()
        await ended.wait()
    assert served.log.lines == []


async def test_a_disconnect_drops_the_pipelined_requests() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        client.send(GET * 5)
        await held.entered.wait()
        client.writer.transport.abort()
        # Reading is paused while requests wait, so the next write has to find out.
        held.release.set()
        await held.ended.wait()


async def test_a_client_that_does_not_read_blocks_only_its_own_request() -> None:
    parked = asyncio.Event()
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        if scope["path"] != "/big":
            return await send_answer(send)
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                asyncio.get_running_loop().call_later(0.2, parked.set)
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
                sent += 1
        finally:
            parked.set()

    async with serving(app) as served:
        client = await served.connect()
        client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        await parked.wait()
        stuck_at = sent
        assert (await served.request(GET)).body == b"ok"
        assert sent == stuck_at
        client.writer.transport.abort()


async def test_a_body_that_the_app_does_not_read_yet_is_not_read_into_memory() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        size = 64 * 1024 * 1024
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.send(bytes(size))
        await held.entered.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.writer.drain()
        held.release.set()
        assert (await client.answer()).status == 200
