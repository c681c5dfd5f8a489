"""Requests and responses on the streams of a connection, below ASGI."""

from itertools import product

import pytest
from http2_wire import HEAD, REQUEST, TRAILERS, Streams, Wire, answer, frames_of

from paceline.http.server import encode_fields
from paceline.http.server.http2.frames import DATA, HEADERS


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


def padded(block: bytes, size: int) -> bytes:
    """A block of this size, or an empty one."""
    if not size:
        return b""
    found = next(
        made + block
        for missing in range(size)
        if len(made := encode_fields([(b"x", b"." * missing)])) + len(block) >= size
    )
    assert len(found) == size
    return found


@pytest.mark.parametrize(
    ("head", "body", "trailers"),
    [*product((0, 100, 255, 256), (0, 1, 1_023, 1_024), (0, 100, 256))],
)
async def test_the_frames_of_a_response_are_its_parts_that_are_not_empty(
    head: int, body: int, trailers: int
) -> None:
    parts = [
        (HEADERS, padded(HEAD, head)), (DATA, b"." * body), (HEADERS, padded(TRAILERS, trailers)),
    ]  # fmt: skip
    blocks = [payload for _, payload in parts]
    wire = Wire(streams=Streams(on_end=lambda stream: stream.respond(*blocks)))
    before = len(wire.transport.written)
    number = wire.request(None)
    wire.connection.flush()
    sent = frames_of(bytes(wire.transport.written[before:]))
    expected = [part for part in parts if part[1]] or [(DATA, b"")]
    assert [(kind, payload) for kind, _, _, payload in sent] == expected
    assert {stream for _, _, stream, _ in sent} == {number}
    flags = [4 if kind == HEADERS else 0 for kind, _ in expected]
    flags[-1] |= 1
    assert [flag for _, flag, _, _ in sent] == flags
