"""Requests whose bodies arrive slowly: they hold no place of others, and are bounded themselves."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from http2_client import Http2Client, connected
from http2_wire import REQUEST
from http_wire import Served, echo, read_body, send_answer, serving, until

from paceline.clock import SystemClock
from paceline.http.asgi import Receive, Scope, Send
from paceline.http.middleware import classify_by_method, shed
from paceline.http.server import ServerLimits
from paceline.resilience import Admission, LoadShedder
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
UPLOADS = 40
ROOM = 32  # requests in flight
STEP = 2  # uploads on one connection of HTTP/2


def new_shedder() -> LoadShedder:
    return LoadShedder(SystemClock(), RecordingLog(), min_in_flight=ROOM, max_in_flight=ROOM)


@asynccontextmanager
async def slow_uploads(served: Served, *, http2: bool) -> AsyncGenerator[list[Http2Client]]:
    """Requests of which all but the last bytes of the body have arrived."""
    async with AsyncExitStack() as stack:
        clients: list[Http2Client] = []
        if http2:
            for _ in range(UPLOADS // STEP):
                client = await stack.enter_async_context(connected(served.server))
                for _ in range(STEP):
                    number = client.connection.get_next_available_stream_id()
                    client.connection.send_headers(number, REQUEST)
                    client.connection.send_data(number, b"a")
                client.flush()
                clients.append(client)
        else:
            for _ in range(UPLOADS):
                (await served.connect()).send(POST + b"a")
        yield clients


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_slow_uploads_take_no_room_of_other_requests(*, http2: bool) -> None:
    shedder = new_shedder()
    began = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal began
        began += scope["method"] == "POST"
        await echo(scope, receive, send)

    admission = Admission(shedder, "http")
    wrapped = shed(admission, classify_by_method())(app)
    async with serving(wrapped) as served, slow_uploads(served, http2=http2):
        await until(lambda: began == UPLOADS)
        await until(lambda: not shedder.stats.in_flight)
        client = await served.connect()
        for _ in range(50):
            assert (await client.request(GET)).status == 200
        assert admission.stats.refused_reads == 0
    await until(lambda: not shedder.stats.in_flight)


async def test_an_upload_counts_again_when_it_is_whole() -> None:
    shedder = new_shedder()
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        body = await read_body(receive)
        await release.wait()
        await send_answer(send, body)

    wrapped = shed(Admission(shedder, "http"), classify_by_method())(app)
    async with serving(wrapped) as served:
        client = await served.connect()
        client.send(POST + b"a")
        await asyncio.sleep(0.01)
        assert shedder.stats.in_flight == 0
        client.send(b"b" * 9)
        await until(lambda: shedder.stats.in_flight == 1)
        release.set()
        assert (await client.answer()).body == b"a" + b"b" * 9
        await until(lambda: shedder.stats.in_flight == 0)


@dataclass(frozen=True)
class Bound:
    """Of the uploads."""

    id: str
    limits: ServerLimits


BOUNDS = [
    Bound("number", ServerLimits(max_uploads=UPLOADS)),
    Bound("bytes", ServerLimits(max_upload_bytes=UPLOADS)),
]


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.id)
async def test_an_upload_too_many_is_refused_and_whole_requests_are_not(
    bound: Bound, *, http2: bool
) -> None:
    waiting = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal waiting
        waiting += 1
        await echo(scope, receive, send)

    async with serving(app, bound.limits) as served, slow_uploads(served, http2=http2) as clients:
        await until(lambda: waiting == UPLOADS)
        await asyncio.sleep(0.05)  # they wait for the rest
        late = await served.connect()
        late.send(POST + b"a")
        answer = await late.answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        whole = await served.connect()
        assert (await whole.request(POST + b"b" * 10)).status == 200
        if http2:
            client = clients[0]
            number = client.connection.get_next_available_stream_id()
            client.connection.send_headers(number, REQUEST)
            client.connection.send_data(number, b"a")
            client.flush()
            assert (await client.response(number))[0] == 503
            assert (await client.response(client.request(b"whole")))[0] == 200


async def test_an_upload_that_is_answered_meanwhile_holds_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send({"type": "http.response.start", "status": 200})
        while True:
            message = await receive()
            more: bool = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})
            if not more:
                return

    async with serving(app, ServerLimits(max_upload_bytes=1_000)) as served:
        client = await served.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(20):
            client.send(b"x" * 500)
            await asyncio.sleep(0.001)
        assert (await client.answer()).body == b"x" * 10_000
