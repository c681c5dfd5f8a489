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
import hpack
from http_wire import PATIENCE
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PIECE = 32 * 1024
_HEADER = 9


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


@dataclass
class Ending:
    """How a connection ended, as the attacker sees it."""

    codes: list[int] = field(default_factory=list[int])
    """Of GOAWAY frames."""
    resets: list[int] = field(default_factory=list[int])
    """Codes of RST_STREAM frames."""
    received: int = 0
    kinds: list[str] = field(default_factory=list[str])


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

    async def send(self, pieces: Iterable[bytes]) -> int:
        """Send pieces until the server ends the connection; how many bytes were sent."""
        sent = 0
        collected = bytearray()
        with suppress(ConnectionError):
            for piece in pieces:
                collected += piece
                if len(collected) >= _PIECE:
                    if self.writer.is_closing() or self.reader.at_eof():
                        break
                    self.writer.write(bytes(collected))
                    sent += len(collected)
                    collected.clear()
                    async with asyncio.timeout(PATIENCE):
                        await self.writer.drain()
            self.writer.write(bytes(collected))
            sent += len(collected)
        return sent

    async def end(self) -> Ending:
        """Read until the server ends the connection."""
        while await self.read_some():
            pass
        return self.seen

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
            await asyncio.sleep(0)

    async def served_again(self) -> None:
        """Wait until it has been answered twice more: one answer may have been on its way."""
        before = self.answered
        async with asyncio.timeout(PATIENCE):
            while self.answered < before + 2:
                await asyncio.sleep(0)


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


def stateful_encoder() -> hpack.Encoder:
    return hpack.Encoder()
