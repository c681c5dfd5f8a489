"""An HTTP/2 connection that is driven by bytes, with the h2 library as its client."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

from paceline.http.asgi import ASGIApp, Headers, Receive, Scope, Send
from paceline.http.server.fields import encode_fields, encode_status
from paceline.http.server.http2 import Http2Connection
from paceline.http.server.http2.frames import GOAWAY
from paceline.http.server.limits import ServerLimits
from paceline.http.server.state import AdmissionCheck, SharedState
from paceline.http.server.streams import RequestStream, StreamApp
from paceline.testing import RecordingLog

REQUEST: Headers = [
    (b":method", b"POST"),
    (b":path", b"/things?a=1"),
    (b":scheme", b"http"),
    (b":authority", b"example.org"),
]
HEAD = encode_status(200) + encode_fields([(b"content-type", b"application/grpc")])
TRAILERS = encode_fields([(b"grpc-status", b"0")])


class RecordingTransport(asyncio.Transport):
    """Keeps what is written; ``full`` is said by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.unsent = 0
        self.ended = False
        self.closed = False
        self.aborted = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        known = {"peername": ("192.0.2.1", 5000), "sockname": ("192.0.2.2", 80)}
        return known.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        self.writes += 1
        self.written += data

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Events:
    """A handler that keeps what it hears, and may answer."""

    stream: RequestStream
    heard: list[object] = field(default_factory=list[object])
    on_end: Callable[[RequestStream], None] | None = None
    consumes: bool = True

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)
        if self.consumes:
            self.stream.consume(len(data))

    def end_received(self, trailers: Headers) -> None:
        self.heard.append(("end", list(trailers)))
        if self.on_end is not None:
            self.on_end(self.stream)

    def writable(self) -> None:
        self.heard.append("writable")

    def closed(self) -> None:
        self.heard.append("closed")

    @property
    def body(self) -> bytes:
        return b"".join(item for item in self.heard if isinstance(item, bytes))


@dataclass
class Streams:
    """A `StreamApp` whose handlers keep what they hear."""

    on_end: Callable[[RequestStream], None] | None = None
    on_open: Callable[[RequestStream], None] | None = None
    consumes: bool = True
    opened: list[Events] = field(default_factory=list[Events])

    def open(self, stream: RequestStream) -> Events:
        events = Events(stream, on_end=self.on_end, consumes=self.consumes)
        self.opened.append(events)
        if self.on_open is not None:
            self.on_open(stream)
        return events


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of each frame."""
    found: list[tuple[int, int, int, bytes]] = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]))
        data = data[end:]
    return found


def answer(stream: RequestStream) -> None:
    """A whole response, as gRPC's."""
    stream.respond(HEAD, b"hello", TRAILERS)


class Wire:
    """One connection and its client, in the running loop, without a socket."""

    def __init__(
        self,
        app: ASGIApp | None = None,
        *,
        streams: StreamApp | None = None,
        limits: ServerLimits | None = None,
        admission_check: AdmissionCheck | None = None,
        preface: bool = True,
    ) -> None:
        self.log = RecordingLog()
        self.state = SharedState(
            app or not_called, self.log, limits or ServerLimits(), admission_check
        )
        self.state.streams = streams
        self.state.date_field = encode_fields([(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")])
        self.loop = asyncio.get_running_loop()
        self.transport = RecordingTransport()
        self.connection = Http2Connection(self.state, self.loop)
        self.connection.connection_made(self.transport)
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.client = h2.connection.H2Connection(config)
        self.events: list[h2.events.Event] = []
        self._read = 0
        if preface:
            self.client.initiate_connection()
            self.send()
            self.receive()
            self.send()

    def send(self) -> None:
        """Let the server read what the client has to send."""
        data = self.client.data_to_send()
        if data:
            self.connection.data_received(data)

    def receive(self) -> list[h2.events.Event]:
        """Let the client read what the server has written; the new events."""
        self.connection.flush()
        data = bytes(self.transport.written[self._read :])
        self._read += len(data)
        found = self.client.receive_data(data) if data else []
        self.events += found
        return found

    def request(
        self, body: bytes | None = None, *fields: tuple[bytes, bytes], head: Headers | None = None
    ) -> int:
        """Send a request, without a body if there is none; the stream's number."""
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, [*(head or REQUEST), *fields], end_stream=body is None)
        if body is not None:
            pieces = [body[at : at + 16_384] for at in range(0, len(body), 16_384)] or [b""]
            for piece in pieces[:-1]:
                self.client.send_data(number, piece)
            self.client.send_data(number, pieces[-1], end_stream=True)
        self.send()
        return number

    async def settle(self) -> list[h2.events.Event]:
        """Let tasks run until nothing happens any more; all new events."""
        found: list[h2.events.Event] = []
        for _ in range(30):
            await asyncio.sleep(0)
            found += self.receive()
            self.send()
        return found

    def is_closed(self) -> bool:
        """Whether the server has closed its direction, once everything was written."""
        return self.transport.ended

    def is_aborted(self) -> bool:
        """Whether the server has cut the connection."""
        return self.transport.aborted

    def of(self, kind: type[h2.events.Event]) -> list[h2.events.Event]:
        """The events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def headers(self, number: int) -> dict[bytes, bytes]:
        """The response's headers of a stream."""
        for event in self.events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == number:
                return {bytes(name): bytes(value) for name, value in event.headers or []}
        raise AssertionError(f"no response on stream {number}: {self.events}")

    def body(self, number: int) -> bytes:
        """The body of a stream so far."""
        return b"".join(
            event.data or b""
            for event in self.events
            if isinstance(event, h2.events.DataReceived) and event.stream_id == number
        )

    def has_ended(self, number: int) -> bool:
        """Whether the response of a stream is whole."""
        return any(
            isinstance(event, h2.events.StreamEnded) and event.stream_id == number
            for event in self.events
        )

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """Last stream and code of each GOAWAY; the h2 library reads nothing behind the first."""
        self.connection.flush()
        return [
            (int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"))
            for kind, _, _, payload in frames_of(bytes(self.transport.written))
            if kind == GOAWAY
        ]

    @property
    def goaway(self) -> tuple[int, int] | None:
        """Last stream and code of the server's latest GOAWAY."""
        found: tuple[int, int] | None = None
        for event in self.events:
            if isinstance(event, h2.events.ConnectionTerminated):
                found = (event.last_stream_id or 0, int(event.error_code or 0))
        return found

    def reset_code(self, number: int) -> int | None:
        """The code of the server's RST_STREAM; None: it sent none."""
        for event in self.events:
            if isinstance(event, h2.events.StreamReset) and event.stream_id == number:
                return int(event.error_code or 0)
        return None


async def not_called(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("this app is not called")
