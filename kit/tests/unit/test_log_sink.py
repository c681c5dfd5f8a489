"""When lines are written: together at the end of a round, or at once if urgent."""

import asyncio
import io
import os
import sys
from dataclasses import dataclass, field
from threading import Thread

import pytest

from paceline.log.sink import Sink
from paceline.log.tail import Tail


class Counting(io.BytesIO):
    """Counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@dataclass
class Stream:
    """As much of a text stream as a sink uses."""

    buffer: Counting = field(default_factory=Counting)


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def sink(stream: Stream) -> Sink:
    return Sink(stream, Tail())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_the_lines_of_one_round_leave_in_one_write_at_its_end(
    sink: Sink, stream: Stream
) -> None:
    for n in range(10):
        sink.write(b"%d\n" % n, at_once=False)
    assert stream.buffer.writes == 0
    await asyncio.sleep(0)
    assert stream.buffer.writes == 1
    assert stream.buffer.getvalue() == b"".join(b"%d\n" % n for n in range(10))


async def test_an_urgent_line_is_written_at_once_with_those_before_it(
    sink: Sink, stream: Stream
) -> None:
    sink.write(b"first\n", at_once=False)
    sink.write(b"second\n", at_once=True)
    assert stream.buffer.getvalue() == b"first\nsecond\n"
    sink.write(b"third\n", at_once=False)
    await asyncio.sleep(0)
    assert stream.buffer.getvalue() == b"first\nsecond\nthird\n"


async def test_a_long_round_does_not_pile_lines_up(sink: Sink, stream: Stream) -> None:
    for _ in range(1_000):
        sink.write(b"line\n", at_once=False)
    assert stream.buffer.writes == 2


def test_without_a_loop_a_line_leaves_at_once(sink: Sink, stream: Stream) -> None:
    sink.write(b"line\n", at_once=False)
    assert stream.buffer.getvalue() == b"line\n"


async def test_threads_lose_no_line(sink: Sink, stream: Stream) -> None:
    def write() -> None:
        for _ in range(1_000):
            sink.write(b"thread\n", at_once=False)

    threads = [Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(1_000):
        sink.write(b"loop\n", at_once=False)
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    sink.flush()
    lines = stream.buffer.getvalue().splitlines()
    assert (lines.count(b"thread"), lines.count(b"loop")) == (4_000, 1_000)


async def test_processes_that_share_a_pipe_tear_no_line_of_each_other() -> None:
    program = """if True:
        import sys
        from paceline.log.sink import Sink
        from paceline.log.tail import Tail
        sink = Sink(sys.stdout, Tail())
        for round in range(40):
            for number in range(400):
                sink._lines.append(sys.argv[1].encode() * (number % 300) + b"\\n")
            sink.flush()
    """
    reading, writing = os.pipe()
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, name, stdout=writing)
        for name in "ab"
    ]
    os.close(writing)
    with open(reading, "rb") as output:  # noqa: ASYNC230, PTH123 - a pipe, read slowly in a thread
        lines = await asyncio.to_thread(output.readlines)
    assert [await process.wait() for process in processes] == [0, 0]
    assert len(lines) == 2 * 40 * 400
    assert [line for line in lines if len(set(line.strip())) > 1] == []


def test_the_tail_numbers_lines_and_gives_what_is_new() -> None:
    tail = Tail(lines=3)
    tail.add([b"1\n", b"2\n"])
    assert tail.after(0) == (2, ["1", "2"])
    assert tail.after(1) == (2, ["2"])
    assert tail.after(2) == (2, [])
    tail.add([b"3\n", b"4\n", b"5\n"])
    assert tail.after(0) == (5, ["3", "4", "5"])
    assert tail.after(4) == (5, ["5"])
    assert tail.after(77) == (5, ["3", "4", "5"]), "a number of a process before this one"
    assert tail.after(-1) == (5, ["3", "4", "5"])


def test_the_tail_is_bounded_and_plain() -> None:
    tail = Tail(lines=2, max_length=12)
    tail.add([b"x" * 100, b"\x1b[31mred\x1b[0m\n"])
    assert tail.after(0) == (2, ["x" * 12, "red"])


def test_lines_are_remembered_also_when_nobody_reads_the_stream(stream: Stream) -> None:
    tail = Tail()
    sink = Sink(stream, tail)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    stream.buffer.close()
    sink.write(b"one\n", at_once=True)
    sink.write(b"two\n", at_once=True)
    assert tail.after(0) == (2, ["one", "two"])
