"""However the bytes of a conversation are split, it means the same."""

from itertools import pairwise

import hpack
from http2_wire import REQUEST, Events, Streams, Wire
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.http.server.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    SETTINGS,
    WITH_PRIORITY,
    frame,
    rst_stream,
    window_update,
)
from paceline.http.server.preface import PREFACE


def _conversation() -> bytes:
    encoder = hpack.Encoder()
    blocks = [encoder.encode([*REQUEST, (b"x-number", b"%d" % at)]) for at in range(3)]
    trailers = encoder.encode([(b"x-trailer", b"1")])
    blocks.append(encoder.encode([*REQUEST, (b"x-number", b"3")]))
    return b"".join(
        (
            PREFACE,
            frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"),
            frame(SETTINGS, 1, 0),
            frame(HEADERS, END_HEADERS, 1, blocks[0]),
            frame(DATA, 0, 1, b"first "),
            frame(HEADERS, END_STREAM, 3, blocks[1][:5]),
            frame(CONTINUATION, 0, 3, blocks[1][5:9]),
            frame(CONTINUATION, END_HEADERS, 3, blocks[1][9:]),
            frame(DATA, PADDED, 1, b"\x04second" + b"\0" * 4),
            frame(HEADERS, END_HEADERS | WITH_PRIORITY, 5, b"\0\0\0\0\x10" + blocks[2]),
            frame(PING, 0, 0, b"12345678"),
            frame(DATA, 0, 5, b"x" * 3_000),
            rst_stream(5, 8),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers),
            window_update(0, 1_000),
            frame(HEADERS, END_HEADERS, 7, blocks[3]),
            frame(DATA, END_STREAM, 7),
            frame(DATA, END_STREAM, 7),  # a fault
        )
    )


CONVERSATION = _conversation()


def _heard(pieces: list[bytes]) -> tuple[list[list[object]], bytes]:
    streams = Streams()
    wire = Wire(streams=streams, preface=False)
    for piece in pieces:
        wire.connection.data_received(piece)
    wire.connection.flush()
    return [_joined(events) for events in streams.opened], bytes(wire.transport.written)


def _joined(events: Events) -> list[object]:
    """What a handler heard, pieces of the body together."""
    rest = [item for item in events.heard if not isinstance(item, bytes)]
    return [events.stream.target, list(events.stream.headers), events.body, *rest]


@given(cuts=st.lists(st.integers(0, len(CONVERSATION)), max_size=60))
@settings(deadline=None)
async def test_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    pieces = [CONVERSATION[a:b] for a, b in pairwise(edges)]
    assert _heard(pieces) == _heard([CONVERSATION])


async def test_single_bytes_give_the_same_events() -> None:
    single = [CONVERSATION[at : at + 1] for at in range(len(CONVERSATION))]
    heard, written = _heard(single)
    assert (heard, written) == _heard([CONVERSATION])
    assert [item[2] for item in heard] == [b"first second", b"", b"x" * 3_000, b""]
    assert heard[0][3] == ("end", [(b"x-trailer", b"1")])


@given(data=st.binary(max_size=400))
@settings(deadline=None, max_examples=200)
async def test_no_bytes_raise(data: bytes) -> None:
    wire = Wire(streams=Streams())
    wire.connection.data_received(data)
    wire.connection.flush()


@given(
    kind=st.integers(0, 10),
    flags=st.integers(0, 255),
    number=st.integers(0, 6),
    payload=st.binary(max_size=60),
    others=st.binary(max_size=60),
)
@settings(deadline=None, max_examples=300)
async def test_no_frame_raises(
    kind: int, flags: int, number: int, payload: bytes, others: bytes
) -> None:
    wire = Wire(streams=Streams())
    wire.request()
    wire.connection.data_received(frame(kind, flags, number, payload))
    wire.connection.data_received(frame(CONTINUATION, flags, number, others))
    wire.connection.flush()
    assert not wire.log.events("error")
