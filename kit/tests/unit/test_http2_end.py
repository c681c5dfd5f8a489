"""How a connection ends: announced, idle, silent, too old, stuck or cut off."""

from typing import Any

import h2.events
import pytest
from http2_wire import Streams, Wire, answer

from paceline.http.server.http2.frames import MAX_STREAM, PING, frame
from paceline.http.server.limits import ServerLimits


def _after(wire: Wire, seconds: float) -> None:
    wire.connection.check(wire.loop.time() + seconds)


async def test_an_end_is_announced_and_final_once_the_client_has_read_it() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    first = wire.request()
    wire.connection.end_after_response()
    second = wire.request()  # sent before the client has read the announcement
    assert wire.goaways == [(MAX_STREAM, 0)]
    assert bytes(wire.transport.written).endswith(frame(PING, 0, 0, b"goingawy"))
    wire.connection.data_received(frame(PING, 1, 0, b"goingawy"))
    assert wire.goaways == [(MAX_STREAM, 0), (3, 0)]
    assert not wire.is_closed()
    for events in streams.opened:
        answer(events.stream)
    assert wire.is_closed()
    assert len(streams.opened) == 2
    assert (first, second) == (1, 3)


async def test_a_request_after_the_final_goaway_is_not_processed() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    wire.request()
    wire.connection.end_after_response()
    _after(wire, 2)  # the client does not answer the PING
    wire.request()
    assert len(streams.opened) == 1
    assert not wire.is_closed()
    answer(streams.opened[0].stream)
    assert wire.is_closed()


async def test_an_idle_connection_is_closed_with_goaway() -> None:
    wire = Wire(streams=Streams(on_end=answer))
    wire.request()
    _after(wire, 0)
    _after(wire, 59)
    assert not wire.is_closed()
    _after(wire, 61)
    wire.receive()
    assert wire.goaway == (1, 0)
    assert wire.is_closed()


async def test_a_connection_that_is_too_old_ends_after_its_requests() -> None:
    streams = Streams()
    wire = Wire(streams=streams, limits=ServerLimits(max_connection_age=30.0))
    wire.request()
    _after(wire, 26)
    assert wire.goaways == []
    _after(wire, 34)
    assert wire.goaways == [(MAX_STREAM, 0)]
    _after(wire, 36)
    assert wire.goaways == [(MAX_STREAM, 0), (1, 0)]
    assert not wire.is_closed()
    answer(streams.opened[0].stream)
    assert wire.is_closed()


async def test_a_silent_client_is_pinged_and_cut_off_if_it_does_not_answer() -> None:
    streams = Streams()
    wire = Wire(streams=streams, limits=ServerLimits(write_timeout=1_000, idle_timeout=1_000))
    wire.request()
    _after(wire, 0)
    _after(wire, 59)
    assert not wire.receive()
    _after(wire, 61)
    (ping,) = [event for event in wire.receive() if isinstance(event, h2.events.PingReceived)]
    assert ping.ping_data == b"stillup?"
    _after(wire, 80)
    assert not wire.is_aborted()
    _after(wire, 82)
    assert wire.is_aborted()
    assert streams.opened[0].heard[-1] == "closed"


async def test_a_client_that_answers_the_ping_stays() -> None:
    wire = Wire(streams=Streams(), limits=ServerLimits(write_timeout=1_000, idle_timeout=1_000))
    wire.request()
    _after(wire, 0)
    _after(wire, 61)
    wire.receive()
    wire.send()  # the client's acknowledgement
    _after(wire, 82)
    _after(wire, 100)
    assert not wire.is_aborted()


async def test_settings_that_are_not_acknowledged_end_the_connection() -> None:
    wire = Wire(streams=Streams(), preface=False)
    wire.client.initiate_connection()
    wire.send()
    _after(wire, 21)
    wire.receive()
    assert wire.goaway == (0, 4)


async def test_a_client_whose_socket_takes_nothing_is_cut_off() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    wire.request()
    wire.connection.pause_writing()
    wire.transport.unsent = 100_000
    _after(wire, 0)
    _after(wire, 20)
    wire.transport.unsent = 90_000
    _after(wire, 40)
    assert not wire.is_aborted()
    _after(wire, 71)
    assert wire.is_aborted()
    assert streams.opened[0].heard[-1] == "closed"


async def test_abort_says_how_many_requests_it_cut_off() -> None:
    streams = Streams()
    wire = Wire(streams=streams)
    wire.request()
    wire.request()
    assert wire.connection.abort() == 2
    assert [events.heard[-1] for events in streams.opened] == ["closed", "closed"]
    assert wire.is_aborted()


async def test_a_connection_whose_end_the_client_ignores_is_aborted() -> None:
    wire = Wire(streams=Streams())
    wire.connection.data_received(frame(PING, 0, 0, b"short"))
    assert wire.is_closed()
    _after(wire, 1)
    assert not wire.is_aborted()
    _after(wire, 3)
    assert wire.is_aborted()


@pytest.mark.parametrize("lifted", [False, True])
async def test_a_request_below_asgi_must_end_in_time_unless_its_handler_lets_it_last(
    *, lifted: bool
) -> None:
    streams = Streams(on_open=lambda stream: stream.lift_read_timeout() if lifted else None)
    wire = Wire(streams=streams)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(
        number,
        [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")],
    )
    wire.send()
    _after(wire, 16)
    wire.receive()
    assert wire.reset_code(number) == (None if lifted else 8)
    assert streams.opened[0].heard == ([] if lifted else ["closed"])


async def test_what_outlives_an_old_connection_by_far_is_cut_off() -> None:
    streams = Streams()
    limits = ServerLimits(max_connection_age=10.0, max_connection_age_grace=50.0)
    wire = Wire(streams=streams, limits=limits)
    wire.request()
    _after(wire, 12)
    _after(wire, 14)
    assert len(wire.goaways) == 2
    _after(wire, 40)  # the ping of the keep-alive is not due yet
    assert not wire.is_aborted()
    _after(wire, 63)
    assert wire.is_aborted()
    assert streams.opened[0].heard[-1] == "closed"


async def test_connections_of_one_moment_do_not_end_at_one_moment() -> None:
    limits = ServerLimits(max_connection_age=100.0, idle_timeout=1_000, keepalive=1_000)
    wires = [Wire(streams=Streams(), limits=limits) for _ in range(40)]
    ended = set[int]()
    for second in range(88, 112):
        for wire in wires:
            _after(wire, second)
        ended.add(sum(bool(wire.goaways) for wire in wires))
    assert max(ended) == len(wires)
    assert len(ended) > 5


@pytest.mark.parametrize(
    "limits",
    [
        {"stream_window": 65_534},
        {"connection_window": 2**31},
        {"read_timeout": 0.0},
        {"max_streams": 0},
    ],
    ids=str,
)
def test_limits_that_cannot_work_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        ServerLimits(**limits)
