"""Windows in both directions, turns among streams, and a client that does not read."""

from itertools import pairwise

import h2.events
import h2.settings
import pytest
from http2_wire import HEAD, TRAILERS, Streams, Wire
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.http.server.http2.frames import MAX_WINDOW, frame, settings_frame, window_update
from paceline.http.server.limits import ServerLimits
from paceline.http.server.streams import RequestStream

_SMALL = ServerLimits(stream_window=65_535, connection_window=65_535)


def _large(stream: RequestStream) -> None:
    stream.respond(HEAD, b"x" * 200_000, TRAILERS)


def _data_frames(wire: Wire) -> list[int]:
    """The streams of the DATA frames, in order."""
    return [
        event.stream_id or 0
        for event in wire.events
        if isinstance(event, h2.events.DataReceived) and event.data
    ]


async def test_a_body_that_is_larger_than_the_window_follows_as_the_client_takes_it() -> None:
    wire = Wire(streams=Streams(on_end=_large))
    number = wire.request()
    wire.receive()
    assert len(wire.body(number)) == 65_535
    assert not wire.has_ended(number)
    while not wire.has_ended(number):
        wire.client.increment_flow_control_window(10_000)
        wire.client.increment_flow_control_window(10_000, number)
        wire.send()
        assert wire.receive()
    assert wire.body(number) == b"x" * 200_000
    assert any(isinstance(event, h2.events.TrailersReceived) for event in wire.events)
    assert not wire.connection.streams


async def test_streams_that_wait_take_turns() -> None:
    wire = Wire(streams=Streams(on_end=_large))
    first, second = wire.request(), wire.request()
    wire.receive()
    for number in (first, second):
        wire.client.increment_flow_control_window(200_000, number)
    wire.send()
    start = len(_data_frames(wire))
    wire.client.increment_flow_control_window(160_000)
    wire.send()
    wire.receive()
    turns = _data_frames(wire)[start:]
    assert all(one != other for one, other in pairwise(turns)), turns


async def test_a_stream_without_window_does_not_hold_up_the_others() -> None:
    wire = Wire(streams=Streams(on_end=_large))
    stuck = wire.request()
    wire.receive()
    wire.client.increment_flow_control_window(300_000)
    wire.send()
    other = wire.request()
    wire.client.increment_flow_control_window(200_000, other)
    wire.send()
    wire.receive()
    assert wire.has_ended(other)
    assert len(wire.body(stuck)) == 65_535


async def test_send_says_when_the_client_takes_no_more_and_writable_when_it_does() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    number = wire.request()
    (events,) = streams.opened
    events.stream.send_headers(HEAD)
    assert events.stream.send(b"x" * 16_000)
    assert not events.stream.send(b"x" * 60_000)
    wire.receive()
    wire.client.increment_flow_control_window(30_000)
    wire.client.increment_flow_control_window(30_000, number)
    wire.send()
    wire.receive()
    assert events.heard[-1] == "writable"
    assert events.heard.count("writable") == 1
    assert len(wire.body(number)) == 76_000


async def test_settings_are_acknowledged_before_the_data_that_they_let_go() -> None:
    streams = Streams(on_end=lambda stream: stream.respond(HEAD, b"ab", TRAILERS))
    wire = Wire(streams=streams)
    window = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
    wire.client.update_settings({window: 0})
    wire.send()
    number = wire.request()
    wire.receive()
    assert wire.body(number) == b""
    wire.client.update_settings({window: 1})
    wire.send()
    kinds = [type(event) for event in wire.receive()]
    assert kinds == [h2.events.SettingsAcknowledged, h2.events.DataReceived]
    assert wire.body(number) == b"a"


async def test_a_smaller_initial_window_makes_open_windows_negative() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    number = wire.request()
    stream = streams.opened[0].stream
    stream.send_headers(HEAD)
    stream.send(b"x" * 10_000)
    wire.receive()
    wire.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 4_000})
    wire.send()
    wire.receive()
    wire.send()
    assert not stream.send(b"y" * 100, end=True)
    wire.client.increment_flow_control_window(6_000, number)
    wire.send()
    wire.receive()
    assert not wire.has_ended(number)
    wire.client.increment_flow_control_window(100, number)
    wire.send()
    wire.receive()
    assert wire.body(number).count(b"y") == 100
    assert wire.has_ended(number)


async def test_frames_are_no_larger_than_the_client_allows() -> None:
    wire = Wire(streams=Streams(on_end=_large))
    wire.client.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 20_000})
    wire.send()
    wire.receive()
    wire.request()
    wire.receive()
    sizes = [len(event.data or b"") for event in wire.of(h2.events.DataReceived)]  # type: ignore[attr-defined]
    assert max(sizes) == 20_000


async def test_headers_that_are_larger_than_a_frame_are_continued() -> None:
    def respond(stream: RequestStream) -> None:
        block = HEAD + b"\0\x01a\x7f\xd1\xb7\x02" + b"v" * 40_016  # a value of 40,016 bytes
        stream.respond(block, b"", b"")

    wire = Wire(streams=Streams(on_end=respond))
    wire.client.max_inbound_frame_size = 16_384
    wire.client.decoder.max_header_list_size = 100_000
    number = wire.request()
    wire.receive()
    assert len(wire.headers(number)[b"a"]) == 40_016
    assert wire.has_ended(number)


async def test_a_client_gets_its_window_back_in_few_frames() -> None:
    wire = Wire(streams=Streams(), limits=_SMALL)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(
        number,
        [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")],
    )
    for _ in range(100):
        wire.client.send_data(number, b"x" * 4_000)
        wire.send()
        wire.receive()
    updates = wire.of(h2.events.WindowUpdated)
    assert 0 < len(updates) <= 2 * 100 * 4_000 // (65_535 // 2) + 2


async def test_what_the_app_does_not_use_is_not_given_back() -> None:
    streams = Streams(consumes=False)
    wire = Wire(streams=streams, limits=_SMALL)
    number = wire.request(b"")
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(
        number,
        [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")],
    )
    for _ in range(4):
        wire.client.send_data(number, b"x" * 16_000)
    wire.send()
    wire.receive()
    assert wire.client.local_flow_control_window(number) == 65_535 - 64_000
    streams.opened[-1].stream.consume(64_000)
    wire.receive()
    assert wire.client.local_flow_control_window(number) == 65_535


async def test_the_unread_body_of_a_finished_stream_is_given_back_to_the_connection() -> None:
    streams = Streams(consumes=False)
    wire = Wire(streams=streams, limits=_SMALL)
    number = 0
    for _ in range(20):  # h2 raises when the connection's window is used up
        number = wire.request(b"x" * 16_000)
        streams.opened[-1].stream.respond(HEAD, b"", TRAILERS)
        wire.receive()
    assert wire.has_ended(number)


async def test_padding_counts() -> None:
    streams = Streams()
    wire = Wire(streams=streams, limits=_SMALL)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(
        number,
        [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")],
    )
    for _ in range(400):  # more than the window in padding alone
        wire.client.send_data(number, b"x", pad_length=255)
        wire.send()
        wire.receive()
    assert streams.opened[0].body == b"x" * 400


@pytest.mark.parametrize("number", [0, 1])
async def test_a_window_that_overflows_is_an_error(number: int) -> None:
    wire = Wire(streams=Streams())
    wire.request()
    wire.connection.data_received(window_update(number, MAX_WINDOW))
    wire.receive()
    if number:
        assert wire.reset_code(1) == 3
    else:
        assert wire.goaway == (1, 3)


async def test_more_data_than_the_window_allows_is_an_error() -> None:
    wire = Wire(streams=Streams(consumes=False), limits=_SMALL)
    wire.client.send_headers(
        1, [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")]
    )
    wire.send()
    for _ in range(5):
        wire.connection.data_received(frame(0, 0, 1, b"x" * 16_000))
    wire.receive()
    assert wire.goaway is not None
    assert wire.goaway[1] == 3


async def test_nothing_is_written_while_the_socket_takes_nothing() -> None:
    streams = Streams(on_end=_large)
    wire = Wire(streams=streams)
    wire.receive()
    wire.connection.pause_writing()
    written = len(wire.transport.written)
    first, second = wire.request(), wire.request()
    wire.connection.flush()
    assert len(wire.transport.written) == written
    assert len(wire.connection.streams) == 2  # they count until they are sent
    wire.connection.resume_writing()
    wire.receive()
    assert wire.body(first)
    assert wire.headers(second)


@given(
    sizes=st.lists(st.integers(0, 40_000), min_size=1, max_size=8),
    grants=st.lists(st.integers(1, 30_000), min_size=1, max_size=20),
    window=st.integers(0, 70_000),
)
@settings(deadline=None, max_examples=40)
async def test_no_window_is_ever_exceeded_and_nothing_is_lost(
    sizes: list[int], grants: list[int], window: int
) -> None:
    bodies = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    wire = Wire(
        streams=Streams(
            on_end=lambda stream: stream.respond(HEAD, bodies[len(streams) - 1], TRAILERS)
        )
    )
    streams: list[int] = []
    wire.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    wire.send()
    wire.receive()
    wire.send()
    for _ in bodies:
        streams.append(wire.client.get_next_available_stream_id())
        wire.request()
        wire.receive()  # h2 raises if a window is exceeded
    for grant in [*grants, *[100_000] * len(bodies)]:
        wire.client.increment_flow_control_window(grant)
        for number in wire.connection.streams:
            wire.client.increment_flow_control_window(grant, number)
        wire.send()
        wire.receive()
    assert [wire.body(number) for number in streams] == bodies
    assert all(wire.has_ended(number) for number in streams)


def test_settings_are_read_as_they_are_written() -> None:
    assert settings_frame({3: 100, 4: 5})[9:] == b"\0\3\0\0\0\x64\0\4\0\0\0\5"
