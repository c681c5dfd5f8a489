"""What a client could send without end, and where it ends."""

import asyncio
from dataclasses import dataclass

import pytest
from http2_wire import HEAD, REQUEST, Streams, Wire, answer

from paceline.http.server.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    frame,
    rst_stream,
    window_update,
)
from paceline.http.server.limits import ServerLimits
from paceline.http.server.streams import RequestStream

_BLOCK = b"".join(b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in REQUEST)
_OPEN = frame(HEADERS, END_HEADERS, 1, _BLOCK)
_ENDED = END_HEADERS | END_STREAM


@dataclass(frozen=True)
class Flood:
    name: str
    repeated: bytes
    before: bytes = b""


FLOODS = [
    Flood("PING", frame(PING, 0, 0, b"12345678")),
    Flood("PING acknowledged", frame(PING, 1, 0, b"12345678")),
    Flood("SETTINGS", frame(SETTINGS, 0, 0)),
    Flood("SETTINGS acknowledged", frame(SETTINGS, 1, 0)),
    Flood("PRIORITY", frame(PRIORITY, 0, 1, b"\0\0\0\3\0")),
    Flood("WINDOW_UPDATE", window_update(0, 1)),
    Flood("WINDOW_UPDATE on a stream", window_update(1, 1), _OPEN),
    Flood("WINDOW_UPDATE on a closed stream", window_update(1, 1), _OPEN + rst_stream(1, 8)),
    Flood("empty DATA", frame(DATA, 0, 1), _OPEN),
    Flood("empty CONTINUATION", frame(CONTINUATION, 0, 1), frame(HEADERS, 0, 1)),
    Flood("CONTINUATION", frame(CONTINUATION, 0, 1, b"x" * 1_000), frame(HEADERS, 0, 1)),
    Flood("unknown frames", frame(77, 0, 0)),
    Flood("RST_STREAM on a closed stream", rst_stream(1, 8), _OPEN + rst_stream(1, 8)),
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
async def test_a_flood_ends_the_connection(flood: Flood) -> None:
    wire = Wire(streams=Streams())
    wire.receive()
    wire.connection.data_received(flood.before)
    for _ in range(1_100):
        wire.connection.data_received(flood.repeated)
        if wire.is_closed():
            break
    wire.connection.flush()
    assert wire.is_closed()
    assert wire.log.lines[-1][2]["code"] == 11
    assert not wire.connection.streams


async def test_frames_that_come_with_work_are_no_flood() -> None:
    wire = Wire(streams=Streams(on_end=answer))
    wire.receive()
    extra = window_update(0, 1) * 2 + frame(PRIORITY, 0, 1, b"\0\0\0\3\0")
    for at in range(5_000):
        wire.connection.data_received(frame(HEADERS, _ENDED, 2 * at + 1, _BLOCK) + extra)
    assert not wire.is_closed()


async def test_time_refills_the_allowance() -> None:
    wire = Wire(streams=Streams())
    wire.receive()
    for at in range(30):
        for _ in range(90):
            wire.connection.data_received(window_update(0, 1))
        wire.connection.check(wire.loop.time() + at)
    assert not wire.is_closed()


async def test_rapid_resets_end_the_connection() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    wire.receive()
    for at in range(1_100):
        number = 2 * at + 1
        wire.connection.data_received(
            frame(HEADERS, _ENDED, number, _BLOCK) + rst_stream(number, 8)
        )
        if wire.is_closed():
            break
    assert wire.is_closed()
    assert len(streams.opened) <= 1_001
    assert all(events.heard[-1] == "closed" for events in streams.opened)


async def test_resets_that_the_client_provokes_end_the_connection() -> None:
    wire = Wire(streams=Streams())
    wire.receive()
    for at in range(1_100):
        number = 2 * at + 1
        wire.connection.data_received(
            frame(HEADERS, _ENDED, number, _BLOCK) + window_update(number, 0)
        )
        if wire.is_closed():
            break
    assert wire.is_closed()


async def test_more_streams_than_allowed_are_refused() -> None:
    streams = Streams()
    wire = Wire(streams=streams, limits=ServerLimits(max_streams=2))
    wire.receive()
    for number in (1, 3, 5):
        wire.connection.data_received(frame(HEADERS, _ENDED, number, _BLOCK))
    wire.connection.flush()
    assert bytes(wire.transport.written).endswith(rst_stream(5, 7))
    answer(streams.opened[0].stream)
    wire.connection.data_received(frame(HEADERS, _ENDED, 7, _BLOCK))
    assert len(streams.opened) == 3


async def test_a_stream_that_was_reset_counts_until_its_task_has_ended() -> None:
    release = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def work() -> None:
        await release.wait()

    def attach(stream: RequestStream) -> None:
        tasks.append(asyncio.get_running_loop().create_task(work()))
        stream.attach(tasks[-1])

    streams = Streams(on_open=attach)
    wire = Wire(streams=streams, limits=ServerLimits(max_streams=2))
    wire.receive()
    for number in (1, 3, 5):
        wire.connection.data_received(
            frame(HEADERS, _ENDED, number, _BLOCK) + rst_stream(number, 8)
        )
    assert len(streams.opened) == 2
    release.set()
    await asyncio.gather(*tasks)
    wire.connection.data_received(frame(HEADERS, _ENDED, 7, _BLOCK))
    assert len(streams.opened) == 3
    release.set()
    await asyncio.gather(*tasks)


async def test_replies_that_the_client_does_not_read_are_bounded() -> None:
    wire = Wire(streams=Streams())
    wire.receive()
    wire.connection.pause_writing()
    written = len(wire.transport.written)
    for at in range(2_000):
        wire.connection.data_received(frame(SETTINGS, 0, 0))
        if at % 50 == 0:
            wire.connection.check(wire.loop.time() + at / 50)
        if wire.is_closed():
            break
    assert wire.is_closed()
    assert len(wire.transport.written) - written < 20_000


async def test_pings_beside_data_that_is_received_are_no_fault() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    number = wire.request()
    stream = streams.opened[0].stream
    stream.send_headers(HEAD)
    for _ in range(300):
        stream.send(b"x" * 100)
        wire.connection.data_received(
            frame(PING, 0, 0, b"12345678") + window_update(0, 100) + window_update(number, 100)
        )
    assert not wire.is_closed()


async def test_what_was_answered_before_a_fault_is_sent() -> None:
    wire = Wire(streams=Streams(on_end=answer))
    wire.receive()
    wire.connection.data_received(frame(HEADERS, _ENDED, 1, _BLOCK) + frame(PING, 0, 1))
    assert b"hello" in wire.transport.written
    assert wire.goaways == [(1, 1)]


async def test_a_client_that_pings_all_the_time_is_disconnected() -> None:
    wire = Wire(streams=Streams(on_end=answer))
    wire.receive()
    for _ in range(5):
        wire.connection.data_received(frame(PING, 0, 0, b"12345678"))
    assert wire.is_closed()


async def test_streams_that_are_never_fed_end_by_the_read_timeout() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    wire.receive()
    for number in range(1, 101, 2):
        wire.connection.data_received(frame(HEADERS, END_HEADERS, number, _BLOCK))
    wire.connection.check(wire.loop.time() + 16)
    assert not wire.connection.streams
    assert all(events.heard == ["closed"] for events in streams.opened)


async def test_a_header_block_that_does_not_end_ends_the_connection() -> None:
    wire = Wire(streams=Streams())
    wire.request()
    wire.connection.data_received(frame(HEADERS, 0, 3, _BLOCK))
    wire.connection.check(wire.loop.time() + 14)
    assert not wire.is_closed()
    wire.connection.check(wire.loop.time() + 16)
    assert wire.is_closed()


async def test_the_numbers_of_streams_run_out_with_a_goaway() -> None:
    streams = Streams(on_end=answer)
    wire = Wire(streams=streams)
    wire.receive()
    wire.connection.data_received(frame(HEADERS, _ENDED, 2**31 - 1, _BLOCK))
    wire.connection.check(wire.loop.time())
    wire.connection.flush()
    assert b"\x7f\xff\xff\xff\0\0\0\0" in bytes(wire.transport.written)
    assert len(streams.opened) == 1
