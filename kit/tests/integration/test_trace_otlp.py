"""The export of spans over OTLP's two protocols, to a receiver and to an address without one."""

import asyncio
import logging
import socket
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager

import pytest
from otlp_receiver import Receiver, grpc_receiver, http_receiver

from paceline.concurrency.deadline import fail_after
from paceline.testing import RecordingLog
from paceline.trace import (
    Span,
    SpanKind,
    TraceExport,
    Tracer,
    attach,
    detach,
    otlp_sender,
    shared_parent,
    span,
)

pytestmark = pytest.mark.integration

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(params=[grpc_receiver, http_receiver], ids=["grpc", "http"])
def receiver(request: pytest.FixtureRequest) -> Generator[Receiver]:
    running: Callable[[], AbstractContextManager[Receiver]] = request.param
    with running() as found:
        yield found


@pytest.fixture(autouse=True)
def own_logging() -> Generator[None]:
    """The SDK's loggers as they were."""
    logger = logging.getLogger("opentelemetry")
    handlers, propagate = [*logger.handlers], logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate


def export_to(address: str, log: RecordingLog) -> TraceExport:
    return TraceExport(otlp_sender(address, service="things", version="1.2.3"), log, interval=0.01)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def work(tracer: Tracer) -> None:
    """A request that came with a trace, a statement that failed, and a message that shares it."""
    root = tracer.enter("GET /things", SpanKind.SERVER, f"00-{TRACE}-{PARENT}-01", "v=1")
    other = tracer.enter("process", SpanKind.CONSUMER)
    assert isinstance(root, Span)
    assert isinstance(other, Span)
    token = attach(shared_parent([root, other]))
    with (
        pytest.raises(ValueError, match="secret"),
        span("SELECT things", SpanKind.CLIENT, {"n": 1}),
    ):
        raise ValueError("a secret")
    detach(token)
    other.end()
    root.end()


async def test_what_is_recorded_is_received_complete(receiver: Receiver) -> None:
    log = RecordingLog()
    export = export_to(receiver.address, log)
    await export.start()
    work(Tracer(export.record, ratio=1.0))
    await export.stop()
    spans = {each.name: each for each in receiver.spans}
    root, select, other = spans["GET /things"], spans["SELECT things"], spans["process"]
    assert (root.trace, root.parent, root.kind, root.state) == (TRACE, PARENT, "server", "v=1")
    assert (select.trace, select.parent, select.kind) == (TRACE, root.id, "client")
    assert (other.parent, other.kind) == ("", "consumer")
    assert (root.links, other.links) == ([other.id], [root.id])
    assert select.failed
    assert select.attributes == {"n": 1, "error.type": "ValueError"}
    assert not root.failed
    assert root.started_at <= select.started_at <= select.ended_at <= root.ended_at
    assert {each.service for each in receiver.spans} == {"things"}
    assert log.lines == []


async def test_many_spans_arrive_in_few_messages(receiver: Receiver) -> None:
    export = export_to(receiver.address, RecordingLog())
    await export.start()
    tracer = Tracer(export.record, ratio=1.0)
    for _ in range(1000):
        made = tracer.enter("a", SpanKind.SERVER)
        assert isinstance(made, Span)
        made.end()
    await export.stop()
    assert len(receiver.spans) == export.stats.sent == 1000
    assert len({each.id for each in receiver.spans}) == 1000
    assert receiver.requests < 50


@pytest.mark.parametrize("scheme", ["grpc", "http"])
async def test_without_a_collector_one_warning_is_logged_and_the_stop_is_quick(
    scheme: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    log = RecordingLog()
    export = TraceExport(
        otlp_sender(f"{scheme}://127.0.0.1:{free_port()}", service="things", version="1"),
        log, max_batch=1, max_queue=100, interval=0.01,
    )  # fmt: skip
    await export.start()
    tracer = Tracer(export.record, ratio=1.0)
    for _ in range(1000):
        work(tracer)
    assert export.stats.waiting <= 100
    async with asyncio.timeout(20):
        while not log.lines:  # noqa: ASYNC110 - a thread's state
            await asyncio.sleep(0.01)
    async with fail_after(4.0, "stopping"):
        await export.stop()
    assert log.events("warning") == ["traces cannot be sent, and are dropped"]
    assert "onnect" in str(log.lines[0][2]["reason"])  # refused, or failed to connect
    assert export.stats.sent == 0
    assert export.stats.dropped == 3000 - export.stats.waiting
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []
    assert "opentelemetry" not in capfd.readouterr().err
