"""The write buffer: what is written in a round is sent at its end, whole, in order, once."""

import asyncio

import pytest

from paceline.http.server.write_buffer import WriteBuffer


class Wire(asyncio.Transport):
    """A transport that records what is written, in one list for all."""

    def __init__(self, written: list[tuple[str, bytes]], name: str) -> None:
        super().__init__()
        self.written = written
        self.name = name
        self.closing = False

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
