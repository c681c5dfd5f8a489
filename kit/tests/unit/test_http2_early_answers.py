"""Answers before the end of their request: what still comes of it is discarded for a while."""

import h2.events
from http2_wire import HEAD, REQUEST, TRAILERS, Streams, Wire, answer

from paceline.http.server.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NO_ERROR,
    frame,
    rst_stream,
)
from paceline.http.server.limits import ServerLimits
from paceline.http.server.streams import RequestStream

_LIMITS = ServerLimits(stream_window=65_535, connection_window=4 * 65_535, max_streams=2)


def _refused(limits: ServerLimits = _LIMITS) -> tuple[Wire, int]:
    """A connection with a stream that has been answered at its head."""
    wire = Wire(streams=Streams(on_open=answer), limits=limits)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    wire.send()
    wire.receive()
    assert wire.has_ended(number)
    return wire, number


def _written(wire: Wire) -> bytes:
    wire.connection.flush()
    return bytes(wire.transport.written)


async def test_a_request_that_ends_after_its_answer_is_not_reset() -> None:
    wire, number = _refused()
    wire.client.send_data(number, b"abc")
    wire.client.send_data(number, b"def", end_stream=True)
    wire.send()
    wire.connection.check(wire.loop.time() + 5)
    wire.receive()
    assert wire.reset_code(number) is None
    assert not wire.connection.streams
    assert wire.connection.unused_credit == 6


async def test_trailers_end_an_answered_request() -> None:
    wire, number = _refused()
    wire.client.send_headers(number, [(b"x-sum", b"1")], end_stream=True)
    wire.send()
    assert not wire.connection.streams
    assert wire.goaway is None


async def test_a_reset_ends_an_answered_request() -> None:
    wire, number = _refused()
    wire.connection.data_received(rst_stream(number, NO_ERROR))
    assert not wire.connection.streams
    wire.connection.check(wire.loop.time() + 5)
    wire.receive()
    assert wire.reset_code(number) is None


async def test_a_client_that_does_not_stop_is_reset_at_a_sweep() -> None:
    wire, number = _refused()
    wire.connection.check(wire.loop.time())
    assert number in wire.connection.streams
    wire.connection.check(wire.loop.time() + 1)
    wire.receive()
    assert wire.reset_code(number) == NO_ERROR
    assert not wire.connection.streams
    wire.connection.data_received(frame(DATA, END_STREAM, number, b"on its way"))
    assert not wire.goaways


async def test_a_client_that_has_used_up_its_window_is_reset_at_once() -> None:
    wire, number = _refused()
    left = 65_535
    while left:
        size = min(left, 16_384)
        wire.connection.data_received(frame(DATA, 0, number, b"x" * size))
        left -= size
    assert _written(wire).endswith(rst_stream(number, NO_ERROR))
    assert not wire.connection.streams


async def test_an_answered_stream_counts_until_its_request_has_ended() -> None:
    wire, first = _refused()
    wire.connection.check(wire.loop.time())
    block = bytes((0x83, 0x87, 0x84, 0x41, 1, ord("a")))
    for number in (first + 2, first + 4):
        wire.connection.data_received(frame(HEADERS, END_HEADERS, number, block))
    assert _written(wire).endswith(rst_stream(first + 4, 7))
    wire.connection.data_received(frame(DATA, END_STREAM, first, b""))
    wire.connection.data_received(frame(HEADERS, END_HEADERS, first + 6, block))
    assert first + 6 in wire.connection.streams


async def test_an_answered_stream_is_no_request_that_is_cut_off() -> None:
    wire, _ = _refused()
    assert wire.connection.abort() == 0


async def test_the_end_of_a_connection_waits_for_answered_streams_only_until_the_sweep() -> None:
    wire, number = _refused()
    now = wire.loop.time()
    wire.connection.end_after_response()
    wire.connection.check(now + 1.5)
    wire.connection.check(now + 2)
    written = _written(wire)
    assert rst_stream(number, NO_ERROR) in written
    assert wire.is_closed()


async def test_a_body_that_waits_for_its_window_is_sent_whole_before_the_reset() -> None:
    def large(stream: RequestStream) -> None:
        stream.respond(HEAD, b"x" * 70_000, TRAILERS)

    wire = Wire(streams=Streams(on_open=large))
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    wire.send()
    wire.receive()
    wire.connection.check(wire.loop.time() + 1)
    assert not wire.has_ended(number)
    wire.client.increment_flow_control_window(70_000)
    wire.client.increment_flow_control_window(70_000, number)
    wire.send()
    wire.receive()
    assert wire.has_ended(number)
    wire.connection.check(wire.loop.time() + 1)
    wire.receive()
    assert wire.reset_code(number) == NO_ERROR


class _Raising:
    """A handler with faults."""

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("data")

    def end_received(self, trailers: object) -> None:
        del trailers

    def writable(self) -> None:
        raise RuntimeError("writable")

    def closed(self) -> None:
        raise RuntimeError("closed")


class _RaisingApp:
    def open(self, stream: RequestStream) -> _Raising:
        self.stream = stream
        return _Raising()


async def test_a_handler_that_raises_when_it_is_told_of_the_end_harms_no_other() -> None:
    wire = Wire(streams=_RaisingApp())
    first, second = wire.request(), wire.request()
    wire.client.reset_stream(first)
    wire.send()
    assert wire.log.events("error") == ["a handler failed"]
    assert list(wire.connection.streams) == [second]
    assert wire.connection.abort() == 1


async def test_a_handler_that_raises_when_it_may_write_ends_its_stream() -> None:
    app = _RaisingApp()
    wire = Wire(streams=app)
    number = wire.request()
    app.stream.send_headers(HEAD)
    assert not app.stream.send(b"x" * 70_000)
    wire.receive()
    wire.client.increment_flow_control_window(70_000)
    wire.client.increment_flow_control_window(70_000, number)
    wire.send()
    wire.receive()
    assert wire.reset_code(number) == 2
    assert not wire.goaways
    assert any(isinstance(event, h2.events.DataReceived) for event in wire.events)
    assert wire.log.events("error")[0] == "a handler failed"
