"""What a client may not send, frame by frame, and what it gets for it (RFC 9113 §5, §6)."""

from dataclasses import dataclass

import hpack
import pytest
from http2_wire import REQUEST, Streams, Wire, answer

from paceline.http.server.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    rst_stream,
)
from paceline.http.server.preface import PREFACE

_BLOCK = hpack.Encoder().encode(REQUEST, huffman=False)
_STATELESS = b"".join(
    b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in REQUEST
)


def _head(number: int, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, number, _STATELESS)


@dataclass(frozen=True)
class Fault:
    name: str
    sent: bytes
    connection: int | None = None
    """The code of the GOAWAY; None: the connection goes on."""
    stream: tuple[int, int] | None = None


_OPEN = _head(1)
_DONE = _head(1, END_HEADERS | END_STREAM)
_RESET = _OPEN + rst_stream(1, 8)
FAULTS = [
    Fault("DATA on the connection", frame(DATA, 0, 0, b"x"), 1),
    Fault("DATA on an idle stream", frame(DATA, 0, 1, b"x"), 1),
    Fault("DATA on a stream of the server", frame(DATA, 0, 2, b"x"), 1),
    Fault("DATA after the end", _DONE + frame(DATA, 0, 1, b"x"), stream=(1, 5)),
    Fault("DATA after the client's reset", _RESET + frame(DATA, 0, 1, b"x"), 5),
    Fault("DATA with more padding than payload", _OPEN + frame(DATA, PADDED, 1, b"\x05abc"), 1),
    Fault("HEADERS on the connection", _head(0), 1),
    Fault("HEADERS on a stream of the server", _head(2), 1),
    Fault("HEADERS on a stream below the last one", _head(5) + _head(3), 1),
    Fault("HEADERS after the end", _DONE + _head(1), stream=(1, 5)),
    Fault("HEADERS after the client's reset", _RESET + _head(1), 5),
    Fault("a second head", _OPEN + _head(1, END_HEADERS | END_STREAM), stream=(1, 1)),
    Fault("trailers without the end", _OPEN + frame(HEADERS, END_HEADERS, 1, b"\0\1a\1b"), stream=(1, 1)),
    Fault("a stream that depends on itself", frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\0\0\0\1\0" + _STATELESS), 1),
    Fault("HEADERS with too much padding", frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + _STATELESS), 1),
    Fault("another frame in a header block", _head(1, 0) + frame(PING, 0, 0, b"12345678"), 1),
    Fault("another stream's CONTINUATION", _head(1, 0) + frame(CONTINUATION, END_HEADERS, 3), 1),
    Fault("CONTINUATION without HEADERS", frame(CONTINUATION, END_HEADERS, 1, _STATELESS), 1),
    Fault("a block that cannot be decoded", frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), 9),
    Fault("PRIORITY on the connection", frame(PRIORITY, 0, 0, b"\0\0\0\3\0"), 1),
    Fault("PRIORITY of a wrong size", _OPEN + frame(PRIORITY, 0, 1, b"\0\0\0\3"), stream=(1, 6)),
    Fault("PRIORITY on itself", _OPEN + frame(PRIORITY, 0, 1, b"\0\0\0\1\0"), stream=(1, 1)),
    Fault("PRIORITY", frame(PRIORITY, 0, 7, b"\0\0\0\3\0")),
    Fault("RST_STREAM on the connection", rst_stream(0, 8), 1),
    Fault("RST_STREAM on an idle stream", rst_stream(1, 8), 1),
    Fault("RST_STREAM of a wrong size", _OPEN + frame(RST_STREAM, 0, 1, b"\0\0\0"), 6),
    Fault("RST_STREAM twice", _RESET + rst_stream(1, 8)),
    Fault("SETTINGS on a stream", frame(SETTINGS, 0, 1), 1),
    Fault("SETTINGS of a wrong size", frame(SETTINGS, 0, 0, b"12345"), 6),
    Fault("an acknowledgement with a payload", frame(SETTINGS, ACK, 0, b"123456"), 6),
    Fault("ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), 1),
    Fault("a window beyond the limit", frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0"), 3),
    Fault("frames below the minimum", frame(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff"), 1),
    Fault("frames above the maximum", frame(SETTINGS, 0, 0, b"\0\5\1\0\0\0"), 1),
    Fault("unknown settings", frame(SETTINGS, 0, 0, b"\0\xff\0\0\0\1")),
    Fault("PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"), 1),
    Fault("PING on a stream", frame(PING, 0, 1, b"12345678"), 1),
    Fault("PING of a wrong size", frame(PING, 0, 0, b"1234567"), 6),
    Fault("GOAWAY on a stream", frame(GOAWAY, 0, 1, b"\0" * 8), 1),
    Fault("GOAWAY", frame(GOAWAY, 0, 0, b"\0" * 8)),
    Fault("WINDOW_UPDATE of a wrong size", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), 6),
    Fault("WINDOW_UPDATE of zero", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), 1),
    Fault("WINDOW_UPDATE of zero on a stream", _OPEN + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\0"), stream=(1, 1)),
    Fault("WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), 1),
    Fault("WINDOW_UPDATE on a closed stream", _RESET + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")),
    Fault("a frame that is too large", frame(DATA, 0, 1, b"x" * 16_385), 6),
    Fault("an unknown frame", frame(0x42, 0xFF, 99, b"whatever")),
    Fault("the reserved bit", _OPEN + b"\0\0\1\0\1\x80\0\0\1x"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_each_fault_has_its_error(fault: Fault) -> None:
    wire = Wire(streams=Streams())
    wire.receive()
    wire.connection.data_received(fault.sent)
    wire.connection.flush()
    goaway, resets = _errors(bytes(wire.transport.written))
    assert goaway == fault.connection
    assert resets == ([] if fault.stream is None else [fault.stream])
    assert wire.is_closed() == (fault.connection is not None)
    if fault.connection is None:  # the connection works
        at = bytes(wire.transport.written)
        wire.connection.data_received(frame(PING, 0, 0, b"12345678"))
        wire.connection.flush()
        assert bytes(wire.transport.written) == at + frame(PING, ACK, 0, b"12345678")


def _errors(data: bytes) -> tuple[int | None, list[tuple[int, int]]]:
    """The code of the GOAWAY, and streams with the codes of their RST_STREAM."""
    goaway: int | None = None
    resets: list[tuple[int, int]] = []
    while data:
        length, kind = int.from_bytes(data[:3], "big"), data[3]
        payload = data[9 : 9 + length]
        if kind == GOAWAY:
            goaway = int.from_bytes(payload[4:8], "big")
        elif kind == RST_STREAM:
            resets.append((int.from_bytes(data[5:9], "big"), int.from_bytes(payload, "big")))
        data = data[9 + length :]
    return goaway, resets


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", b"PRI * HTTP/2.1\r\n"]
)
async def test_anything_but_the_preface_ends_the_connection(first: bytes) -> None:
    wire = Wire(preface=False)
    wire.connection.data_received(first)
    assert wire.is_closed()


async def test_the_first_frame_must_be_settings() -> None:
    wire = Wire(preface=False)
    wire.connection.data_received(PREFACE + frame(PING, 0, 0, b"12345678"))
    wire.connection.flush()
    assert _errors(bytes(wire.transport.written))[0] == 1


async def test_frames_on_a_stream_that_the_server_has_reset_are_ignored() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    wire.receive()
    wire.connection.data_received(_OPEN)
    streams.opened[0].stream.reset(8)
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0\1a\1b")
    wire.connection.data_received(frame(DATA, 0, 1, b"x" * 100) + trailers)
    wire.connection.flush()
    assert _errors(bytes(wire.transport.written)) == (None, [(1, 8)])
    assert streams.opened[0].heard == []


@pytest.mark.parametrize(
    ("length", "bodies", "fails"),
    [
        (b"3", [b"abc"], False),
        (b"3", [b"a", b"bc"], False),
        (b"3", [b"ab"], True),
        (b"3", [b"ab", b"cd"], True),
        (b"0", [b""], False),
        (b"0", [b"a"], True),
    ],
)
async def test_the_body_must_have_the_length_that_its_head_says(
    length: bytes, bodies: list[bytes], *, fails: bool
) -> None:
    streams = Streams(on_end=answer)
    wire = Wire(streams=streams)
    wire.receive()
    block = _STATELESS + b"\0\x0econtent-length%c%b" % (len(length), length)
    data = frame(HEADERS, END_HEADERS, 1, block)
    for at, body in enumerate(bodies, 1):
        data += frame(DATA, END_STREAM if at == len(bodies) else 0, 1, body)
    wire.connection.data_received(data)
    wire.connection.flush()
    assert _errors(bytes(wire.transport.written))[1] == ([(1, 1)] if fails else [])
    assert ("closed" in streams.opened[0].heard) == fails


async def test_a_length_without_a_body_is_an_error() -> None:
    streams = Streams(on_end=answer)
    wire = Wire(streams=streams)
    block = _STATELESS + b"\0\x0econtent-length\x013"
    wire.connection.data_received(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    wire.connection.flush()
    assert (1, 1) in _errors(bytes(wire.transport.written))[1]
    assert not streams.opened
