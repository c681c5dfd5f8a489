"""Time limits on clients that are too slow: each ends its request and no other."""

import asyncio
import json

import pytest
from http_wire import GET, Held, hello, read_body, send_answer, serving

from paceline.http.asgi import STREAMING, Receive, Scope, Send
from paceline.http.server import ServerLimits

pytestmark = pytest.mark.integration
SOON = 0.08


async def test_headers_that_do_not_end_get_408() -> None:
    held = Held()
    async with serving(held, ServerLimits(read_timeout=SOON)) as served:
        client = await served.connect()
        answer = await client.request(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert await client.read_to_end() == b""
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert json.loads(answer.body)["detail"] == "the request took too long to arrive"
    assert held.calls == 0
    assert served.log.lines == []


async def test_dribbling_headers_do_not_extend_the_time() -> None:
    async with serving(hello, ServerLimits(read_timeout=SOON)) as served:
        client = await served.connect()
        reading = asyncio.create_task(client.answer())
        client.send(b"GET / HTTP/1.1\r\n")
        while not reading.done():
            client.send(b"X: x\r\n")
            await asyncio.wait({reading}, timeout=SOON / 10)
        assert (await reading).status == 408


async def test_a_body_that_does_not_come_gets_408_and_the_request_is_cancelled() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read_body(receive)
        except asyncio.CancelledError:
            ended.set()
            raise

    async with serving(app, ServerLimits(read_timeout=SOON)) as served:
        client = await served.connect()
        answer = await client.request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        assert answer.status == 408
        assert await client.read_to_end() == b""
        await ended.wait()
    assert served.log.lines == []


async def takes_its_time(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body when it is whole, and says at first that this may last."""
    await send({"type": STREAMING})
    body = await read_body(receive)
    await send_answer(send, body)


async def test_a_request_that_may_last_is_bounded_by_silence_only() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n"
    limits = ServerLimits(read_timeout=SOON, write_timeout=SOON, idle_timeout=4 * SOON)
    async with serving(takes_its_time, limits) as served:
        client = await served.connect()
        client.send(head)
        for _ in range(30):
            client.send(b"x")
            await asyncio.sleep(SOON / 5)
        assert (await client.answer()).body == b"x" * 30
        silent = await (await served.connect()).request(head + b"x")
        assert silent.status == 408


async def test_a_handler_that_does_not_read_may_last_too() -> None:
    held = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": STREAMING})
        await held.wait()
        await send_answer(send, await read_body(receive))

    async with serving(app, ServerLimits(read_timeout=SOON, idle_timeout=2 * SOON)) as served:
        client = await served.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        await asyncio.sleep(5 * SOON)
        held.set()
        client.send(b"bc")
        assert (await client.answer()).body == b"abc"


async def test_a_slow_body_after_the_response_has_begun_cuts_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await read_body(receive)

    async with serving(app, ServerLimits(read_timeout=SOON)) as served:
        client = await served.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        rest = await client.read_to_end()
        assert b"408" not in rest
        assert b"0\r\n\r\n" not in rest


async def test_the_time_to_read_ends_with_the_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await asyncio.sleep(3 * SOON)
        await send_answer(send)

    async with serving(app, ServerLimits(read_timeout=SOON)) as served:
        client = await served.connect()
        answer = await client.request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na")
        assert answer.status == 200


async def test_a_response_that_takes_too_long_is_cancelled_and_logged_once() -> None:
    held = Held()
    async with serving(held, ServerLimits(write_timeout=SOON)) as served:
        client = await served.connect()
        client.send(GET)
        assert await client.read_to_end() == b""
        await held.ended.wait()
    assert held.cancelled == 1
    [(level, event, fields)] = served.log.lines
    assert (level, event) == ("warning", "response took too long")
    assert fields == {"path": "/", "write_timeout": SOON}


@pytest.mark.parametrize("at_once", [True, False], ids=["one large piece", "many pieces"])
async def test_a_client_that_does_not_read_is_cut_off(at_once: bool) -> None:  # noqa: FBT001 - a table
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            for _ in range(0 if at_once else 1000):
                body = bytes(64 * 1024)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": bytes(64 * 1024 * 1024)})
        finally:
            ended.set()

    async with serving(app, ServerLimits(write_timeout=SOON)) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's
        client.send(GET)
        await ended.wait()
        async with asyncio.timeout(10):
            while served.server.connections:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(SOON / 10)
    assert [event for _, event, _ in served.log.lines] == ["response took too long"]


@pytest.mark.parametrize("first", [b"", GET, b"\r\n"], ids=["silent", "kept alive", "empty line"])
async def test_an_idle_connection_is_closed_without_an_answer(first: bytes) -> None:
    async with serving(hello, ServerLimits(idle_timeout=SOON)) as served:
        client = await served.connect()
        client.send(first)
        if first == GET:
            assert (await client.answer()).status == 200
        assert await client.read_to_end() == b""
    assert served.log.lines == []


async def test_a_connection_in_use_is_not_idle() -> None:
    held = Held()
    async with serving(held, ServerLimits(idle_timeout=SOON)) as served:
        client = await served.connect()
        client.send(GET)
        await held.entered.wait()
        await asyncio.sleep(3 * SOON)
        held.release.set()
        assert (await client.answer()).status == 200


async def test_the_next_pipelined_request_has_its_own_time_to_arrive() -> None:
    held = Held()
    async with serving(held, ServerLimits(read_timeout=2 * SOON)) as served:
        client = await served.connect()
        client.send(GET + GET[:10])
        await held.entered.wait()
        await asyncio.sleep(4 * SOON)
        held.release.set()
        assert (await client.answer()).status == 200
        assert (await client.request(GET[10:])).status == 200
