"""An attacker who sends raw frames over HTTP/2, and a well-behaved client beside it."""

import asyncio
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import h2.config
import h2.connection
import h2.events
from http_wire import PATIENCE
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from paceline.http.asgi import Receive, Scope, Send

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PIECE = 8 * 1024
_HEADER = 9
_PAUSE = 0.02  # seconds between a well-behaved client's requests


def frames_of(*frames: Frame) -> bytes:
    return b"".join([frame.serialize() for frame in frames])


def raw_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame that no library would make."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(path: str = "/", *fields: tuple[str, str], method: str = "GET") -> bytes:
    """A header block that needs no state."""
    head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")]
    return b"".join(
        b"\x00%c%b%c%b" % (len(name), name.encode(), len(value), value.encode())
        for name, value in (*head, *fields)
    )


WAIT = block("/wait")


def opened(number: int, head: bytes = WAIT, *, end: bool = True) -> HeadersFrame:
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return HeadersFrame(number, head, flags=flags)


class App:
    """Answers / and, with a megabyte, /large; keeps /wait until its client has left, and counts what it keeps."""

    def __init__(self) -> None:
        self.running = self.peak = self.called = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called += 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if scope["path"] == "/wait":
                await asyncio.Event().wait()
            if scope["path"] == "/read":
                while (await receive())["more_body"]:
                    pass
            await send({"type": "http.response.start", "status": 200, "headers": []})
            size = 1024 * 1024 if scope["path"] == "/large" else 2
            await send({"type": "http.response.body", "body": b"x" * size})
        finally:
            self.running -= 1


@dataclass
class Ending:
    """How a connection ended, as the attacker sees it."""

    codes: list[int] = field(default_factory=list[int])
    """Of GOAWAY frames."""
    resets: list[int] = field(default_factory=list[int])
    """Codes of RST_STREAM frames."""
    received: int = 0
    kinds: list[str] = field(default_factory=list[str])
    ended: bool = False


@dataclass
class Attacker:
    """A connection whose client sends what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: Ending = field(default_factory=Ending)
    _rest: bytes = b""

    @classmethod
    async def connect(cls, port: int, settings: dict[int, int] | None = None) -> Self:
        """Open a connection as far as both SETTINGS are acknowledged."""
        attacker = cls(*await asyncio.open_connection("127.0.0.1", port))
        attacker.writer.write(PREFACE + frames_of(SettingsFrame(0, settings or {})))
        attacker.writer.write(frames_of(SettingsFrame(0, flags=["ACK"])))
        while "SettingsFrame" not in attacker.seen.kinds:
            await attacker.read_some()
        return attacker

    async def read_some(self) -> bool:
        """Read frames; False at the end of the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                data = await self.reader.read(65536)
        except ConnectionError:
            return False
        self.seen.received += len(data)
        self._rest += data
        while len(self._rest) >= _HEADER:
            frame, length = Frame.parse_frame_header(memoryview(self._rest[:_HEADER]))
            if len(self._rest) < _HEADER + length:
                break
            frame.parse_body(memoryview(self._rest[_HEADER : _HEADER + length]))
            self._rest = self._rest[_HEADER + length :]
            self.seen.kinds.append(type(frame).__name__)
            if isinstance(frame, GoAwayFrame):
                self.seen.codes.append(frame.error_code)
            elif isinstance(frame, RstStreamFrame):
                self.seen.resets.append(frame.error_code)
        return bool(data)

    async def send(self, pieces: Iterable[bytes]) -> None:
        """Send pieces, one write for some of them, until the server ends the connection."""
        collected = bytearray()
        with suppress(ConnectionError):
            for piece in pieces:
                collected += piece
                if len(collected) >= _PIECE:
                    self.writer.write(bytes(collected))
                    collected.clear()
                    async with asyncio.timeout(PATIENCE):
                        await self.writer.drain()
                    await asyncio.sleep(0)
                    if self.seen.ended:
                        return
            self.writer.write(bytes(collected))

    async def end(self) -> Ending:
        """Read until the server ends the connection."""
        while await self.read_some():
            pass
        self.seen.ended = True
        return self.seen

    async def attack(self, pieces: Iterable[bytes]) -> Ending:
        """Send pieces and read what comes, until the server ends the connection."""
        reading = asyncio.create_task(self.end())
        await self.send(pieces)
        return await reading

    async def wait_for(self, kind: str, number: int = 1) -> Ending:
        """Read until a frame of this kind has come ``number`` times."""
        while self.seen.kinds.count(kind) < number:
            assert await self.read_some(), f"no {kind}: {self.seen}"
        return self.seen


@dataclass
class Honest:
    """A client that sends one request after the other, on a connection of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answered: int = 0
    slowest: float = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        client = h2.connection.H2Connection(config)
        client.initiate_connection()
        loop = asyncio.get_running_loop()
        head = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
        while True:
            number = client.get_next_available_stream_id()
            client.send_headers(number, head, end_stream=True)
            started = loop.time()
            ended = False
            while not ended:
                self.writer.write(client.data_to_send())
                async with asyncio.timeout(PATIENCE):
                    data = await self.reader.read(65536)
                assert data, "the well-behaved client was disconnected"
                for event in client.receive_data(data):
                    assert not isinstance(event, h2.events.StreamReset)
                    if isinstance(event, h2.events.ResponseReceived):
                        assert dict(event.headers or [])[b":status"] == b"200"
                    ended = ended or isinstance(event, h2.events.StreamEnded)
            self.answered += 1
            self.slowest = max(self.slowest, loop.time() - started)
            await asyncio.sleep(_PAUSE)

    async def served_again(self) -> None:
        """Wait until it has been answered twice more: one answer may have been on its way."""
        before = self.answered
        async with asyncio.timeout(PATIENCE):
            while self.answered < before + 2:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def honest_client(port: int) -> AsyncGenerator[Honest, None]:
    """A well-behaved client that must be served until the end."""
    client = Honest(*await asyncio.open_connection("127.0.0.1", port))
    task = asyncio.create_task(client.run())
    try:
        yield client
        await client.served_again()
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        client.writer.close()
