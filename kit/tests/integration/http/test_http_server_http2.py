"""The server over HTTP/2 on real sockets: requests, drain, hand-over, admission, access log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import pytest
from http2_wire import REQUEST, Streams, answer, frames_of
from http_wire import GET, PATIENCE, Held, echo, hello, serving

from paceline.concurrency import fail_after
from paceline.errors import Error
from paceline.http import App
from paceline.http.asgi import Headers
from paceline.http.middleware import access_log
from paceline.http.server import HttpServer, ServerLimits
from paceline.http.server.http2.frames import GOAWAY, MAX_STREAM
from paceline.testing import RecordingLog


@dataclass
class Http2Client:
    """A client of the h2 library on a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: h2.connection.H2Connection = field(
        default_factory=lambda: h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
    )
    events: list[h2.events.Event] = field(default_factory=list[h2.events.Event])
    received: bytearray = field(default_factory=bytearray)

    def flush(self) -> None:
        self.writer.write(self.connection.data_to_send())

    def request(self, body: bytes | None = None, head: Headers | None = None) -> int:
        number = self.connection.get_next_available_stream_id()
        self.connection.send_headers(number, head or REQUEST, end_stream=body is None)
        if body is not None:
            self.connection.send_data(number, body, end_stream=True)
        self.flush()
        return number

    async def read(self) -> bool:
        """Read once; False at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            data = await self.reader.read(65_536)
        self.received += data
        self.events += self.connection.receive_data(data) if data else []
        for event in self.events:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id or 0
                )
                event.flow_controlled_length = 0
        self.flush()
        return bool(data)

    async def response(self, number: int) -> tuple[int, bytes]:
        """Status and body of a whole response."""
        while not any(
            isinstance(event, h2.events.StreamEnded) and event.stream_id == number
            for event in self.events
        ):
            assert await self.read(), self.events
        status, body = 0, b""
        for event in self.events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == number:
                status = int(dict(event.headers or [])[b":status"])
            elif isinstance(event, h2.events.DataReceived) and event.stream_id == number:
                body += event.data or b""
        return status, body

    async def raw_to_end(self) -> list[tuple[int, int]]:
        """The GOAWAYs up to the end of the connection, whatever the h2 library makes of them."""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while data := await self.reader.read(65_536):
                    self.received += data
        return [
            (int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"))
            for kind, _, _, payload in frames_of(bytes(self.received))
            if kind == GOAWAY
        ]


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncGenerator[Http2Client, None]:
    client = Http2Client(*await asyncio.open_connection("127.0.0.1", server.port))
    client.connection.initiate_connection()
    client.flush()
    try:
        yield client
    finally:
        client.writer.close()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


async def test_requests_of_one_connection_are_answered_side_by_side() -> None:
    async with serving(echo) as served, connected(served.server) as client:
        numbers = [client.request(b"%d" % at) for at in range(50)]
        for at, number in enumerate(numbers):
            assert await client.response(number) == (200, b"POST /things a=1 %d" % at)


async def test_both_versions_are_served_on_one_port() -> None:
    async with serving(hello) as served, connected(served.server) as client:
        assert await client.response(client.request()) == (200, b"ok")
        assert (await served.request(GET)).body == b"ok"


async def test_a_large_body_goes_there_and_back() -> None:
    async with serving(echo) as served, connected(served.server) as client:
        number = client.connection.get_next_available_stream_id()
        client.connection.send_headers(number, REQUEST)
        left = body = b"0123456789abcdef" * 100_000
        while left:
            size = min(len(left), client.connection.local_flow_control_window(number), 16_384)
            if size:
                client.connection.send_data(number, left[:size], end_stream=size == len(left))
                left = left[size:]
                client.flush()
            else:
                await client.read()
        status, answered = await client.response(number)
        assert status == 200
        assert answered.endswith(body)


async def test_streams_take_requests_before_the_app_does() -> None:
    server = HttpServer(
        hello, RecordingLog(), host="127.0.0.1", port=0, streams=Streams(on_end=answer)
    )
    await server.start()
    async with connected(server) as client:
        assert await client.response(client.request(b"x")) == (200, b"hello")
    await server.stop()


async def test_a_stop_finishes_what_is_in_flight() -> None:
    held = Held()
    async with serving(held) as served, connected(served.server) as client:
        number = client.request()
        await held.entered.wait()
        stopping = asyncio.create_task(served.server.stop())
        goaways = asyncio.create_task(client.raw_to_end())
        await asyncio.sleep(0)
        held.release.set()
        assert await goaways == [(MAX_STREAM, 0), (number, 0)]
        await stopping
        assert b"ok" in client.received


async def test_a_stop_closes_idle_connections() -> None:
    async with serving(hello) as served, connected(served.server) as client:
        await client.response(client.request())
        stopping = asyncio.create_task(served.server.stop())
        assert (await client.raw_to_end())[-1] == (1, 0)
        await stopping


async def test_a_stop_cuts_off_what_outlives_the_deadline() -> None:
    held = Held()
    async with serving(held) as served, connected(served.server) as client:
        client.request()
        client.request()
        await held.entered.wait()
        while held.calls < 2:  # noqa: ASYNC110 - a condition of the app
            await asyncio.sleep(0)
        with pytest.raises(Error, match="2 requests in flight were cut off"):
            async with fail_after(0.4, "stopping"):
                await served.server.stop()
        assert held.cancelled == 2


async def test_a_server_that_accepts_no_more_announces_the_end() -> None:
    limits = ServerLimits(idle_timeout=4, read_timeout=0.2)
    async with serving(hello, limits) as served, connected(served.server) as client:
        await client.response(client.request())
        await served.server.stop_accepting()
        assert (await client.raw_to_end())[-1] == (1, 0)


async def test_a_client_that_leaves_cancels_its_requests() -> None:
    held = Held()
    async with serving(held) as served:
        async with connected(served.server) as client:
            client.request()
            await held.entered.wait()
        async with asyncio.timeout(PATIENCE):
            await held.ended.wait()
        assert held.cancelled == 1


async def test_a_request_that_is_slow_to_end_is_answered_408() -> None:
    limits = ServerLimits(read_timeout=0.1)
    async with serving(echo, limits) as served, connected(served.server) as client:
        number = client.connection.get_next_available_stream_id()
        client.connection.send_headers(number, REQUEST)
        client.flush()
        assert (await client.response(number))[0] == 408
        assert (await client.response(client.request(b"")))[0] == 200


async def test_the_app_of_this_kit_logs_requests_over_http2() -> None:
    log = RecordingLog()
    app = App(access_log(log))
    server = HttpServer(app, log, host="127.0.0.1", port=0)
    await server.start()
    async with connected(server) as client:
        assert (await client.response(client.request()))[0] == 404
    await server.stop()
    assert [fields.get("status") for _, _, fields in log.lines] == [404]
