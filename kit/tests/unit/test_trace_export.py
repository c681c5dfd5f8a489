"""The export of spans: sent in batches, dropped rather than waited for, flushed at the stop."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from paceline.concurrency.deadline import fail_after
from paceline.testing import RecordingLog
from paceline.trace import Span, SpanContext, SpanKind, TraceExport, parse_otlp_endpoint
from paceline.trace.endpoint import OtlpTarget


def ended(name: str = "a") -> Span:
    span = Span(
        name, SpanKind.SERVER, SpanContext("1" * 32, "1" * 16, 1), lambda _: None, root=True
    )
    span.end()
    return span


@dataclass
class FakeSender:
    """Keeps what it is sent; ``problem``: what `send` returns; it hangs while ``free`` is clear."""

    problem: str = ""
    batches: list[list[str]] = field(default_factory=list[list[str]])
    free: threading.Event = field(default_factory=threading.Event)
    closed: bool = False

    def __post_init__(self) -> None:
        self.free.set()

    def send(self, spans: Sequence[Span]) -> str:
        self.free.wait()
        self.batches.append([span.name for span in spans])
        return self.problem

    def close(self) -> None:
        self.closed = True
        self.free.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread's state
            await asyncio.sleep(0.001)


async def test_spans_are_sent_in_batches_and_the_rest_at_the_stop() -> None:
    sender, log = FakeSender(), RecordingLog()
    export = TraceExport(lambda: sender, log, max_batch=2, interval=3600.0)
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


async def test_a_single_span_is_sent_after_the_interval() -> None:
    sender = FakeSender()
    export = TraceExport(lambda: sender, RecordingLog(), interval=0.001)
    await export.start()
    export.record(ended())
    await until(lambda: export.stats.sent == 1)
    await export.stop()


async def test_while_the_collector_fails_the_queue_is_bounded_and_one_warning_logged() -> None:
    sender, log = FakeSender(problem="refused"), RecordingLog()
    export = TraceExport(lambda: sender, log, max_batch=1, max_queue=10, interval=0.001)
    await export.start()
    sender.free.clear()
    for _ in range(100):
        export.record(ended())
    assert export.stats.waiting <= 10
    assert export.stats.dropped >= 88  # all but what waits, and what is being sent
    sender.free.set()
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


async def test_a_stop_drops_what_cannot_be_sent_in_time() -> None:
    sender = FakeSender()
    export = TraceExport(lambda: sender, RecordingLog(), max_batch=1)
    await export.start()
    sender.free.clear()
    for _ in range(10):
        export.record(ended())
    async with fail_after(0.2, "stopping"):
        await export.stop()
    assert sender.closed
    assert export.stats.waiting == 0


async def test_before_the_start_and_after_the_stop_spans_are_dropped() -> None:
    sender = FakeSender()
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
    sender = FakeSender()
    export = TraceExport(lambda: sender, RecordingLog())
    for _ in range(3):
        await export.start()
        export.record(ended())
        await export.stop()
    assert export.stats.sent == 3


async def test_a_failure_to_connect_fails_the_start() -> None:
    def connect() -> FakeSender:
        raise ValueError("no certificate")

    export = TraceExport(connect, RecordingLog())
    with pytest.raises(ValueError, match="no certificate"):
        await export.start()
    await export.stop()


@dataclass(frozen=True)
class Address:
    text: str
    expected: OtlpTarget | str


ADDRESSES = [
    Address("grpc://otel:4317", OtlpTarget(True, False, "otel:4317")),
    Address("grpcs://otel", OtlpTarget(True, True, "otel:4317")),
    Address("http://otel", OtlpTarget(False, False, "http://otel:4318/v1/traces")),
    Address("https://otel:443/", OtlpTarget(False, True, "https://otel:443/v1/traces")),
    Address("http://otel:4318/my", OtlpTarget(False, False, "http://otel:4318/my/v1/traces")),
    Address("https://otel/otlp/", OtlpTarget(False, True, "https://otel:4318/otlp/v1/traces")),
    Address("http://o/my/v1/traces", OtlpTarget(False, False, "http://o:4318/my/v1/traces")),
    Address("http://o/v1/traces/", OtlpTarget(False, False, "http://o:4318/v1/traces")),
    Address("grpc://[::1]:4317", OtlpTarget(True, False, "[::1]:4317")),
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
            parse_otlp_endpoint(address.text)
    else:
        assert parse_otlp_endpoint(address.text) == address.expected
