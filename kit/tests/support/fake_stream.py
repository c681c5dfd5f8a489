"""A stream of HTTP/2 without a connection: what a handler sends is kept, decoded by `hpack`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack, unpack_from

from hpack import Decoder

from paceline.http import Headers
from paceline.http.server import StreamApp, StreamHandler

Fields = list[tuple[bytes, bytes]]


def framed(message: bytes, *, compressed: int = 0) -> bytes:
    """A message behind its prefix."""
    return pack(">BI", compressed, len(message)) + message


@dataclass
class FakeStream:
    """Implements `RequestStream`. ``room``: bytes that the client takes before `send` is False."""

    target: bytes = b"/paceline.test.Echo/Say"
    headers: Headers = field(default_factory=list[tuple[bytes, bytes]])
    method: str = "POST"
    client: tuple[str, int] | None = ("192.0.2.7", 1234)
    connection: object = None
    room: float = float("inf")
    authority: bytes = b"test"
    scheme: str = "http"
    prepared: object = None
    blocks: list[Fields] = field(default_factory=list[Fields])
    body: bytearray = field(default_factory=bytearray)
    consumed: int = 0
    ended: bool = False
    lasting: bool = False
    reset_by: int | None = None
    task: "asyncio.Task[None] | None" = None
    handler: StreamHandler | None = None

    def send(self, data: bytes, *, end: bool = False) -> bool:
        self._add(data, end=end)
        return len(self.body) <= self.room

    def send_headers(self, block: bytes, *, end: bool = False) -> None:
        self._add(b"", end=end)
        self.blocks.append(
            [(bytes(name), bytes(value)) for name, value in Decoder().decode(block, raw=True)]
        )

    def respond(self, head: bytes, body: bytes, trailers: bytes) -> None:
        if head:
            self.send_headers(head, end=not body and not trailers)
        if body:
            self.send(body, end=not trailers)
        if trailers:
            self.send_headers(trailers, end=True)

    def consume(self, size: int) -> None:
        self.consumed += size

    def reset(self, code: int) -> None:
        self.reset_by = code
        self.ended = True

    def attach(self, task: "asyncio.Task[None]") -> None:
        self.task = task

    def lift_read_timeout(self) -> None:
        self.lasting = True

    def _add(self, data: bytes, *, end: bool) -> None:
        assert not self.ended, "something was sent after the end"
        self.body += data
        self.ended = end

    # For tests.

    def open(self, app: StreamApp, *parts: bytes, end: bool = True) -> "FakeStream":
        """Arrive at ``app`` with ``parts`` as DATA frames."""
        self.handler = app.open(self)
        if self.handler is not None:
            for part in parts:
                self.handler.data_received(part)
            if end:
                self.handler.end_received([])
        return self

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """What was sent: each message with its flag."""
        found: list[tuple[int, bytes]] = []
        at = 0
        while at < len(self.body):
            flag, size = unpack_from(">BI", self.body, at)
            found.append((flag, bytes(self.body[at + 5 : at + 5 + size])))
            at += 5 + size
        return found

    @property
    def head(self) -> dict[bytes, bytes]:
        """The headers of the response."""
        return dict(self.blocks[0])

    @property
    def status(self) -> dict[bytes, bytes]:
        """The last block: trailers, or, of an error, all there is."""
        assert self.ended, "the response has not ended"
        return dict(self.blocks[-1])

    @property
    def code(self) -> int:
        """The status's number."""
        return int(self.status[b"grpc-status"])

    async def answer(self) -> "FakeStream":
        """Wait for the end of the response."""
        await until(lambda: self.ended)
        return self


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in this event loop."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
