"""Requests and responses on the streams of a connection, below ASGI."""

from http2_wire import REQUEST, Streams, Wire, answer


async def test_a_call_is_answered_with_headers_body_and_trailers() -> None:
    streams = Streams(on_end=answer)
    wire = Wire(streams=streams)
    number = wire.request(b"request")
    wire.receive()
    assert wire.headers(number)[b"content-type"] == b"application/grpc"
    assert wire.body(number) == b"hello"
    assert wire.has_ended(number)
    (events,) = streams.opened
    assert events.heard == [b"request", ("end", [])]
    assert events.stream.method == "POST"
    assert events.stream.target == b"/things?a=1"
    assert events.stream.authority == b"example.org"
    assert events.stream.client == ("192.0.2.1", 5000)
    assert not wire.connection.streams


async def test_answers_of_one_round_are_one_write() -> None:
    wire = Wire(streams=Streams(on_end=answer))
    wire.receive()
    before = wire.transport.writes
    for number in (1, 3, 5):
        wire.client.send_headers(number, REQUEST, end_stream=True)
    wire.send()
    await wire.settle()
    assert wire.transport.writes == before + 1
    assert all(wire.has_ended(number) for number in (1, 3, 5))
