"""Attacks over HTTP/2: each has a limit and an end, and other clients are served meanwhile.

Frames are raw, on a real socket. Memory is what Python has allocated at the worst moment, what the
attacker holds included; processor time is that of both sides.
"""

import itertools
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest
from http2_attack import WAIT, App, Attacker, block, frames_of, honest_client, opened, raw_frame
from http_wire import serving
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from paceline.http.server import ServerLimits

CALM = 11
PROTOCOL, FLOW_CONTROL, STREAM_CLOSED, FRAME_SIZE = 1, 3, 5, 6
COMPRESSION = 9
ROOM = 24 * 1024 * 1024
SECONDS = 20.0  # of the processor, on a machine that is busy
FRAMES = 20_000  # as many as an attacker sends at most
GET = block()
BIG = b"\x40\x01a\x7f\xd0\x1e" + b"x" * (0x7F + 0x50 + (0x1E << 7))  # nearly the whole table


def numbers() -> Iterator[int]:
    """Streams, as many as there may be frames in an attack."""
    return iter(range(1, 2 * FRAMES, 2))


def repeated(*frames: Frame, before: bytes = b"") -> Iterable[bytes]:
    data = frames_of(*frames)
    return itertools.chain([before], itertools.repeat(data, FRAMES))


def streams(*rest: Callable[[int], Frame], end: bool = True, head: bytes = WAIT) -> Iterable[bytes]:
    """Streams without end, each followed by frames of its own."""
    for number in numbers():
        yield frames_of(opened(number, head, end=end), *[make(number) for make in rest])


def continued(first: bytes, payload: bytes) -> Iterable[bytes]:
    """A header block without an end."""
    yield frames_of(HeadersFrame(1, first))
    yield from itertools.repeat(frames_of(ContinuationFrame(1, payload)), FRAMES)


def blocks(first: bytes, later: bytes) -> Iterable[bytes]:
    """Requests with one header block, then with another one."""
    yield frames_of(opened(1, GET + first))
    for number in itertools.islice(numbers(), 1, None):
        yield frames_of(opened(number, GET + later))


def settings(payload: bytes) -> Iterable[bytes]:
    yield from (frames_of(opened(number, end=False)) for number in range(1, 400, 2))
    yield from itertools.repeat(raw_frame(4, 0, 0, payload), 3_000)


def oversized(kind: int) -> Callable[[], Iterable[bytes]]:
    return lambda: [raw_frame(kind, 0, 1, b"x" * 16_385)]


def large_frame() -> Iterable[bytes]:
    yield b"\xff\xff\xff" + raw_frame(0, 0, 1)[3:]
    yield from itertools.repeat(b"x" * 16_384, 1_024)


@dataclass(frozen=True)
class Attack:
    name: str
    frames: Callable[[], Iterable[bytes]]
    codes: tuple[int, ...] = (CALM,)
    """What the GOAWAY says."""


def _reset(number: int) -> Frame:
    return RstStreamFrame(number, 8)


def _window(size: int) -> Callable[[int], Frame]:
    return lambda number: WindowUpdateFrame(number, size)


class _Raw(Frame):
    """A frame of any type and payload."""

    def __init__(self, stream: int, kind: int, payload: bytes) -> None:
        super().__init__(stream)
        self.bytes = raw_frame(kind, 0, stream, payload)

    def serialize(self) -> bytes:
        return self.bytes


def _priority(payload: bytes | None = None) -> Callable[[int], Frame]:
    return lambda number: _Raw(
        number, 2, struct.pack(">IB", number, 0) if payload is None else payload
    )


ATTACKS = [
    Attack("rapid reset", lambda: streams(_reset)),
    Attack("rapid reset of bodies that never come", lambda: streams(_reset, end=False)),
    # A client that makes the server reset its streams: the requests go on, as far as it can tell.
    Attack("provoked resets: WINDOW_UPDATE of zero", lambda: streams(_window(0))),
    Attack("provoked resets: a window that overflows", lambda: streams(_window(2**31 - 1))),
    Attack("provoked resets: a stream that depends on itself", lambda: streams(_priority()),
           (CALM, PROTOCOL)),
    Attack("provoked resets: PRIORITY of a wrong size", lambda: streams(_priority(b"1234")),
           (CALM, FRAME_SIZE)),
    Attack("provoked resets: DATA after the end", lambda: streams(lambda n: DataFrame(n, b"x")),
           (CALM, STREAM_CLOSED)),
    Attack("provoked resets: HEADERS after the end", lambda: streams(opened),
           (CALM, STREAM_CLOSED)),
    Attack("provoked resets: trailers that are none",
           lambda: streams(lambda n: opened(n, b"\x82"), end=False)),
    Attack("provoked resets: a body beyond its length", lambda: streams(
        lambda n: DataFrame(n, b"xx"), end=False,
        head=block("/wait", ("content-length", "1"), method="POST"))),
    Attack("malformed heads", lambda: streams(head=block("/", ("A", "b")))),
    Attack("more streams than allowed", lambda: streams(end=False)),
    Attack("CONTINUATION without end", lambda: continued(GET, b"\x00\x01a\x7f\x00" + b"x" * 127)),
    Attack("CONTINUATION, empty", lambda: continued(GET, b"")),
    Attack("CONTINUATION of a byte", lambda: continued(GET, b"\x82")),
    Attack("a bomb of indices", lambda: blocks(BIG, b"\xbe" * 700)),
    Attack("a bomb of thousands of indices", lambda: blocks(BIG, b"\xbe" * 16_000), (COMPRESSION,)),
    Attack("a bomb of empty fields", lambda: blocks(BIG, b"\x01\x00" * 8_000), (COMPRESSION,)),
    Attack("a table that is resized all the time",
           lambda: streams(_reset, head=b"\x20\x3f\xe1\x1f" + GET)),
    Attack("three sizes of the table", lambda: streams(head=b"\x20\x3f\xe1\x1f\x20" + GET),
           (COMPRESSION,)),
    Attack("a table larger than announced", lambda: streams(head=b"\x3f\xe2\x1f" + GET),
           (COMPRESSION,)),
    Attack("SETTINGS", lambda: repeated(SettingsFrame(0))),
    Attack("SETTINGS, acknowledged", lambda: repeated(SettingsFrame(0, flags=["ACK"]))),
    Attack("SETTINGS of thousands of windows",
           lambda: settings(struct.pack(">HIHI", 4, 1, 4, 70_000) * 1_300)),
    Attack("SETTINGS of thousands of tables", lambda: settings(struct.pack(">HI", 1, 0) * 2_700)),
    Attack("PING", lambda: repeated(PingFrame(0, b"12345678"))),
    Attack("PING, acknowledged", lambda: repeated(PingFrame(0, b"12345678", flags=["ACK"]))),
    Attack("empty DATA", lambda: repeated(DataFrame(1), before=frames_of(opened(1, end=False)))),
    Attack("DATA that is padding only", lambda: repeated(
        DataFrame(1, b"", pad_length=255, flags=["PADDED"]),
        before=frames_of(opened(1, end=False)))),
    Attack("WINDOW_UPDATE", lambda: repeated(WindowUpdateFrame(0, 1))),
    Attack("WINDOW_UPDATE on a stream",
           lambda: repeated(WindowUpdateFrame(1, 1), before=frames_of(opened(1)))),
    Attack("PRIORITY", lambda: repeated(PriorityFrame(1, depends_on=3, stream_weight=1))),
    Attack("PRIORITY of ever new streams",
           lambda: (frames_of(PriorityFrame(n, depends_on=0)) for n in numbers())),
    Attack("RST_STREAM on a closed stream",
           lambda: repeated(RstStreamFrame(1, 8), before=frames_of(opened(1)))),
    Attack("unknown frames", lambda: itertools.repeat(raw_frame(0xEE, 0, 0, b"x" * 100), FRAMES)),
    Attack("GOAWAY", lambda: itertools.repeat(raw_frame(7, 0, 0, b"\0" * 8), FRAMES)),
    Attack("a window that overflows", lambda: repeated(WindowUpdateFrame(0, 2**31 - 1)),
           (FLOW_CONTROL,)),
    Attack("a window of zero bytes", lambda: [raw_frame(8, 0, 0, b"\0" * 4)], (PROTOCOL,)),
    Attack("an initial window that is too large",
           lambda: [raw_frame(4, 0, 0, struct.pack(">HI", 4, 2**31))], (FLOW_CONTROL,)),
    Attack("an initial window that makes an open one overflow", lambda: [
        frames_of(opened(1), WindowUpdateFrame(1, 2**30)),
        raw_frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1))], (FLOW_CONTROL,)),
    Attack("more DATA than the window allows", lambda: repeated(
        DataFrame(1, b"x" * 16_384), before=frames_of(opened(1, end=False))),
        (CALM, FLOW_CONTROL, STREAM_CLOSED)),
    Attack("another frame within a header block",
           lambda: [frames_of(HeadersFrame(1, GET), PingFrame(0, b"12345678"))], (PROTOCOL,)),
    Attack("another stream within a header block", lambda: [
        frames_of(HeadersFrame(1, GET), ContinuationFrame(3, b"", flags=["END_HEADERS"]))],
        (PROTOCOL,)),
    Attack("CONTINUATION alone",
           lambda: [frames_of(ContinuationFrame(1, GET, flags=["END_HEADERS"]))], (PROTOCOL,)),
    *[Attack(f"an oversized frame of type {kind}",
             oversized(kind), (FRAME_SIZE,))
      for kind in (0, 1, 6, 9, 0xEE)],
    Attack("a frame of 16 MB", large_frame, (FRAME_SIZE,)),
    Attack("as much padding as payload", lambda: [frames_of(opened(1, end=False)),
           raw_frame(0, 8, 1, b"\x05" + b"\0" * 4)], (PROTOCOL,)),
    Attack("padding without a length",
           lambda: [frames_of(opened(1, end=False)), raw_frame(0, 8, 1)], (PROTOCOL,)),
    Attack("more padding than HEADERS", lambda: [raw_frame(1, 0xC, 1, b"\xff" + GET)], (PROTOCOL,)),
    Attack("a header block of padding only",
           lambda: (raw_frame(1, 0xD, n, b"\x04\0\0\0\0") for n in numbers())),
    Attack("a stream of an even number", lambda: [frames_of(opened(2))], (PROTOCOL,)),
    Attack("streams backwards", lambda: [frames_of(opened(5), opened(3))], (PROTOCOL,)),
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_an_attack_ends_its_connection_and_no_other(attack: Attack) -> None:
    app = App()
    limits = ServerLimits(linger=0.1)
    async with serving(app, limits) as served, honest_client(served.server.port):
        attacker = await Attacker.connect(served.server.port)
        tracemalloc.start(1)
        started = time.process_time()
        end = await attacker.attack(attack.frames())
        spent = time.process_time() - started
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        attacker.writer.close()
        assert end.codes[-1:], end
        assert end.codes[-1] in attack.codes
        assert app.peak <= limits.max_streams + 1
        assert peak < ROOM
        assert spent < SECONDS
