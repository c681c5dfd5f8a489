"""Writing: what is written in a round is sent at its end, in order, once; a lone response at once."""

import asyncio
import socket
from dataclasses import dataclass

import pytest

from paceline.http.server.transports import send_now
from paceline.http.server.write_buffer import WriteBuffer


class Wire(asyncio.Transport):
    """A transport that records what is written, in one list for all."""

    def __init__(self, written: list[tuple[str, bytes]], name: str) -> None:
        super().__init__()
        self.written = written
        self.name = name
        self.closing = False
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append((self.name, bytes(data)))

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def written() -> list[tuple[str, bytes]]:
    return []


async def test_responses_of_one_round_are_sent_together_in_order(
    written: list[tuple[str, bytes]],
) -> None:
    buffer, a, b = WriteBuffer(), Wire(written, "a"), Wire(written, "b")
    buffer.write(a, b"1")
    buffer.write(b, b"2")
    assert written == []
    await asyncio.sleep(0)
    assert written == [("a", b"1"), ("b", b"2")]


async def test_the_second_part_of_a_response_sends_the_first_and_itself_at_once(
    written: list[tuple[str, bytes]],
) -> None:
    buffer, a = WriteBuffer(), Wire(written, "a")
    buffer.write(a, b"head")
    buffer.write(a, b"body")
    assert written == [("a", b"head"), ("a", b"body")]
    await asyncio.sleep(0)
    assert len(written) == 2


async def test_a_large_response_does_not_wait(written: list[tuple[str, bytes]]) -> None:
    large = bytes(100_000)
    WriteBuffer().write(Wire(written, "a"), large)
    assert written == [("a", large)]


async def test_flushing_writes_what_waits_and_only_once(written: list[tuple[str, bytes]]) -> None:
    buffer, a, b = WriteBuffer(), Wire(written, "a"), Wire(written, "b")
    buffer.write(a, b"1")
    buffer.write(b, b"2")
    buffer.flush(b)
    assert written == [("b", b"2")]
    await asyncio.sleep(0)
    assert written == [("b", b"2"), ("a", b"1")]


async def test_nothing_is_written_to_a_connection_that_closes_meanwhile(
    written: list[tuple[str, bytes]],
) -> None:
    buffer, a, b = WriteBuffer(), Wire(written, "a"), Wire(written, "b")
    buffer.write(a, b"1")
    buffer.write(b, b"2")
    a.closing = True
    buffer.flush(a)
    b.closing = True
    await asyncio.sleep(0)
    assert written == []


async def test_a_round_after_a_round_waits_for_its_own_end(
    written: list[tuple[str, bytes]],
) -> None:
    buffer, a = WriteBuffer(), Wire(written, "a")
    for number in range(3):
        buffer.write(a, b"%d" % number)
        assert len(written) == number
        await asyncio.sleep(0)
        assert len(written) == number + 1


def test_what_is_sent_now_is_in_the_kernel_and_what_it_does_not_take_is_written(
    written: list[tuple[str, bytes]],
) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        wire = Wire(written, "a")
        send_now(wire, one.fileno(), b"whole")
        assert (other.recv(10), written) == (b"whole", [])
        large = bytes(range(256)) * 40_000
        send_now(wire, one.fileno(), large)
        ((_, rest),) = written
        assert large.endswith(rest)
        received = other.recv(len(large), socket.MSG_WAITALL | socket.MSG_DONTWAIT)
        assert 0 < len(received) < len(large)
        assert received + rest == large


@dataclass(frozen=True)
class Obstacle:
    id: str
    unsent: int = 0
    gone: bool = False
    encrypted: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Obstacle("data waits before it", unsent=1),
        Obstacle("the client has left", gone=True),
        Obstacle("it must be encrypted", encrypted=True),
    ],
    ids=lambda case: case.id,
)
def test_what_cannot_be_sent_now_is_written(
    case: Obstacle, written: list[tuple[str, bytes]]
) -> None:
    one, other = socket.socketpair()
    with one, other:
        wire = Wire(written, "a")
        wire.unsent = case.unsent
        if case.gone:
            other.close()
        send_now(wire, -1 if case.encrypted else one.fileno(), b"later")
    assert written == [("a", b"later")]


def test_nothing_is_sent_to_a_descriptor_whose_connection_is_closed(
    written: list[tuple[str, bytes]],
) -> None:
    one, other = socket.socketpair()
    with one, other:
        other.setblocking(False)
        wire = Wire(written, "a")
        wire.closing = True
        send_now(wire, one.fileno(), b"stray")
        with pytest.raises(BlockingIOError):
            other.recv(10)
