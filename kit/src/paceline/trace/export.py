"""The export of ended spans: a bounded queue, one thread that sends, and a flush at the stop.

Invariant: a request never waits for this. `TraceExport.record` appends to a queue and drops what
does not fit; a thread encodes and sends; and a collector that is unavailable costs one warning, one
line when it is available again, and the spans meanwhile. Rejected: the SDK's batch processor, which
needs the SDK's own spans, made on the event loop, warns for each full queue and each batch, and
whose shutdown blocks. A batch is a few milliseconds' work, since the thread shares the interpreter
with the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final, Protocol

from paceline.concurrency import remaining
from paceline.log import Logger
from paceline.stats import StatsEntry
from paceline.trace.spans import Span

_STOP_TIMEOUT: Final = 5.0
_FAILING_STOP_TIMEOUT: Final = 1.0


class SpanSender(Protocol):
    """A connection to a collector. One thread calls `send`, any thread `close`."""

    def send(self, spans: Sequence[Span]) -> str:
        """Send them and wait. Returns why they are lost, "" if they are not. Never raises."""
        ...

    def close(self) -> None:
        """Close the connection and abort what is being sent. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class ExportStats:
    """Spans: ``sent``, ``dropped`` for whatever reason, ``waiting`` in the queue."""

    sent: int
    dropped: int
    waiting: int


class TraceExport:
    """Sends the spans that `record` receives. Times are in seconds.

    ``connect``: makes the sender, in the thread. ``max_queue``: spans that may wait.
    ``max_batch``: spans in one message. ``interval``: how long a span may wait for others.
    ``stop_timeout``: how long the last flush may take, less under an ambient deadline. ``log`` is
    called from the thread.

        export = TraceExport(otlp_sender("grpc://collector", service="shop", version="1"), log)
        tracer = Tracer(export.record, ratio=0.1)

    *Resources*: a thread and what ``connect`` opens, from `start` to `stop`.
    """

    name = "traces"

    def __init__(
        self,
        connect: Callable[[], SpanSender],
        log: Logger,
        *,
        max_queue: int = 4096,
        max_batch: int = 256,
        interval: float = 1.0,
        stop_timeout: float = _STOP_TIMEOUT,
    ) -> None:
        self._connect = connect
        self._log = log
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._interval = interval
        self._stop_timeout = stop_timeout
        self._waiting: deque[Span] = deque()
        self._send_now = Event()
        self._open = False
        self._sender: SpanSender | None = None
        self._failing = False
        # Each is counted by one thread only: the first two by the exporting one.
        self._sent = self._lost = 0
        self._refused = 0
        self._ended: asyncio.Future[None] | None = None

    @property
    def stats(self) -> ExportStats:
        """Counts so far."""
        return ExportStats(self._sent, self._lost + self._refused, len(self._waiting))

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("exporters", self.name, lambda: self.stats)

    def record(self, span: Span) -> None:
        """Queue a span that has ended: the sink of a `Tracer`. Never waits, never raises."""
        waiting = self._waiting
        if len(waiting) >= self._max_queue or not self._open:
            self._refused += 1
            return
        waiting.append(span)
        if len(waiting) == self._max_batch:
            self._send_now.set()

    async def start(self) -> None:
        """Start the thread and connect. Errors: those of ``connect``."""
        if self._ended is not None:
            raise RuntimeError("the export of traces is started already")
        loop = asyncio.get_running_loop()
        connected: asyncio.Future[None] = loop.create_future()
        self._ended = loop.create_future()
        self._open = True
        self._send_now.clear()
        # A daemon: an exporter that hangs must not keep the process from ending.
        Thread(
            target=self._run, args=(loop, connected, self._ended), name="trace export", daemon=True
        ).start()
        await connected

    async def stop(self) -> None:
        """Send what is queued, and drop the rest when the time is over. May be repeated."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._open = False
        self._send_now.set()
        left = remaining()
        timeout = self._stop_timeout if left is None else min(self._stop_timeout, left / 2)
        if self._failing:
            timeout = min(timeout, _FAILING_STOP_TIMEOUT)
        try:
            await asyncio.wait([ended], timeout=timeout)
        finally:
            if self._sender is not None and not ended.done():
                self._sender.close()
            self._refused += len(self._take(self._max_queue))
        await asyncio.wait([ended], timeout=timeout / 4)

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        connected: "asyncio.Future[None]",
        ended: "asyncio.Future[None]",
    ) -> None:
        try:
            sender = self._sender = self._connect()
        except Exception as exc:  # noqa: BLE001 - `start` raises it
            _resolve(loop, connected, exc)
            _resolve(loop, ended)
            return
        _resolve(loop, connected)
        while self._open:
            self._send_now.wait(self._interval)
            self._send_now.clear()
            self._send_all(sender)
        self._send_all(sender)
        sender.close()
        _resolve(loop, ended)

    def _send_all(self, sender: SpanSender) -> None:
        while spans := self._take(self._max_batch):
            problem = sender.send(spans)
            if problem:
                self._lost += len(spans)
                if not self._failing:
                    self._failing = True
                    self._log.warning("traces cannot be sent, and are dropped", reason=problem)
            else:
                self._sent += len(spans)
                if self._failing:
                    self._failing = False
                    self._log.info("traces are sent again", dropped=self.stats.dropped)

    def _take(self, count: int) -> list[Span]:
        """Up to ``count`` spans from the head of the queue."""
        spans: list[Span] = []
        with suppress(IndexError):
            while len(spans) < count:
                spans.append(self._waiting.popleft())
        return spans


def _resolve(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]", exc: Exception | None = None
) -> None:
    """Complete ``future`` of ``loop`` from another thread."""

    def complete() -> None:
        if future.done():
            return
        if exc is None:
            future.set_result(None)
        else:
            future.set_exception(exc)

    with suppress(RuntimeError):  # the loop is closed: nothing waits for it any more
        loop.call_soon_threadsafe(complete)
