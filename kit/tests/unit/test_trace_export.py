"""Spans on their way out: sent in batches, dropped rather than waited for, flushed at the end."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from paceline.concurrency.deadline import fail_after
from paceline.testing import RecordingLog
from paceline.trace import Span, SpanContext, SpanKind, TraceExport, parse_endpoint
from paceline.trace.endpoint import Endpoint


def ended(name: str = "a") -> Span:
    span = Span(
        name, SpanKind.SERVER, SpanContext("1" * 32, "1" * 16, 1), lambda _: None, root=True
    )
    span.end()
    return span


@dataclass
class Sender:
    """Keeps what it is sent; ``problem``: why it does not; ``held``: hangs while it is clear."""

    problem: str = ""
    batches: list[list[str]] = field(default_factory=list[list[str]])
    held: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def __post_init__(self) -> None:
        self.held.set()

    def send(self, spans: Sequence[Span]) -> str:
        self.held.wait()
        self.batches.append([span.name for span in spans])
        return self.problem

    def close(self) -> None:
        self.closed = True
        self.held.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread's state
            await asyncio.sleep(0.001)


async def test_spans_are_sent_in_batches_and_what_is_left_at_the_end() -> None:
    sender, log = Sender(), RecordingLog()
    export = TraceExport(lambda: sender, log, batch=2, every=3600.0)
    await export.start()
    for number in range(4):
        export.record(ended(str(number)))
    await until(lambda: export.stats.sent == 4)
    export.record(ended("last"))
    await export.stop()
    assert [name for batch in sender.batches for name in batch] == ["0", "1", "2", "3", "last"]
    assert max(len(batch) for batch in sender.batches) == 2
    assert (export.stats.sent, export.stats.dropped, export.stats.waiting) == (5, 0, 0)
    assert sender.closed
    assert log.lines == []


async def test_a_lonely_span_waits_for_company_only_so_long() -> None:
    sender = Sender()
    export = TraceExport(lambda: sender, RecordingLog(), every=0.001)
    await export.start()
    export.record(ended())
    await until(lambda: export.stats.sent == 1)
    await export.stop()


async def test_while_nobody_takes_them_spans_are_bounded_and_told_once() -> None:
    sender, log = Sender(problem="refused"), RecordingLog()
    export = TraceExport(lambda: sender, log, batch=1, most=10, every=0.001)
    await export.start()
    sender.held.clear()
    for _ in range(100):
        export.record(ended())
    assert export.stats.waiting <= 10
    assert export.stats.dropped >= 88  # all but what waits, and what is being sent
    sender.held.set()
    await until(lambda: export.stats.waiting == 0)
    for _ in range(5):
        export.record(ended())
        await until(lambda: export.stats.waiting == 0)
    assert log.events("warning") == ["traces cannot be sent, and are dropped"]
    assert log.lines[0][2]["reason"] == "refused"
    sender.problem = ""
    export.record(ended())
    await until(lambda: export.stats.sent >= 1)
    await export.stop()
    assert log.events("info") == ["traces are sent again"]
    assert export.stats.sent + export.stats.dropped == 106


async def test_a_stop_gives_up_what_hangs() -> None:
    sender = Sender()
    export = TraceExport(lambda: sender, RecordingLog(), batch=1)
    await export.start()
    sender.held.clear()
    for _ in range(10):
        export.record(ended())
    async with fail_after(0.2, "stopping"):
        await export.stop()
    assert sender.closed
    assert export.stats.waiting == 0


async def test_before_the_start_and_after_the_stop_spans_are_dropped() -> None:
    sender = Sender()
    export = TraceExport(lambda: sender, RecordingLog())
    await export.stop()
    export.record(ended())
    await export.start()
    with pytest.raises(RuntimeError, match="started already"):
        await export.start()
    await export.stop()
    await export.stop()
    export.record(ended())
    assert sender.batches == []
    assert export.stats.dropped == 2


async def test_it_starts_again() -> None:
    sender = Sender()
    export = TraceExport(lambda: sender, RecordingLog())
    for _ in range(3):
        await export.start()
        export.record(ended())
        await export.stop()
    assert export.stats.sent == 3


async def test_what_cannot_connect_fails_the_start() -> None:
    def connect() -> Sender:
        raise ValueError("no certificate")

    export = TraceExport(connect, RecordingLog())
    with pytest.raises(ValueError, match="no certificate"):
        await export.start()
    await export.stop()


@dataclass(frozen=True)
class Address:
    text: str
    expected: Endpoint | str


ADDRESSES = [
    Address("grpc://otel:4317", Endpoint(True, False, "otel:4317")),
    Address("grpcs://otel", Endpoint(True, True, "otel:4317")),
    Address("http://otel", Endpoint(False, False, "http://otel:4318/v1/traces")),
    Address("https://otel:443/", Endpoint(False, True, "https://otel:443/v1/traces")),
    Address("http://otel:4318/my/traces", Endpoint(False, False, "http://otel:4318/my/traces")),
    Address("grpc://[::1]:4317", Endpoint(True, False, "[::1]:4317")),
    Address("http://otel:4317", "port of OTLP over gRPC"),
    Address("https://ada:secret@otel", "OTEL_EXPORTER_OTLP_HEADERS"),
    Address("otel:4317", "like"),
    Address("grpc://", "like"),
    Address("grpc://otel/path", "like"),
    Address("grpc://otel:99999", "like"),
    Address("http://otel?key=1", "like"),
    Address("http://[", "like"),
]


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address.text)
def test_an_address_says_which_protocol_or_what_is_wrong(address: Address) -> None:
    if isinstance(address.expected, str):
        with pytest.raises(ValueError, match=address.expected):
            parse_endpoint(address.text)
    else:
        assert parse_endpoint(address.text) == address.expected
