"""An HTTP/2 client of the h2 library on a real socket."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
from http2_wire import REQUEST, frames_of
from http_wire import PATIENCE

from paceline.http.asgi import Headers
from paceline.http.server import HttpServer
from paceline.http.server.http2.frames import GOAWAY


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
