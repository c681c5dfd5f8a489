"""Spans on their way out: a bounded queue, one thread that sends, and a flush at the end.

Invariant: a request never waits for this. `TraceExport.record` appends to a queue and drops what
does not fit, encoding and sending are a thread's, and a collector that is away costs one warning,
one word when it is back, and the spans meanwhile. Rejected: the SDK's batch processor, which wants
its own spans made on the event loop, warns for each full queue and each batch, and whose shutdown
blocks. A batch is a few milliseconds' work, since the thread shares the interpreter with the event
loop. A service of the lifecycle, started early and stopped late; read ``otlp`` for what is sent.
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
_LAST_TRY: Final = 1.0


class Sender(Protocol):
    """A connection to whoever stores spans; used by one thread, but for `close`."""

    def send(self, spans: Sequence[Span]) -> str:
        """Send them and wait; an empty text, or why they are lost. Never raises."""
        ...

    def close(self) -> None:
        """Let go, and give up what is being sent. Called from any thread, also twice."""
        ...


@dataclass(frozen=True, slots=True)
class ExportStats:
    """Spans: ``sent``, ``dropped`` for whatever reason, ``waiting`` at this moment."""

    sent: int
    dropped: int
    waiting: int


class TraceExport:
    """Sends what `record` is given. Times are in seconds.

    ``connect``: makes the sender, in the thread. ``most``: spans that may wait. ``batch``: spans in
    one message. ``every``: how long a span may wait for company. ``stop_timeout``: what the last
    flush may take, less under an ambient deadline.

    *Resources*: a thread and what ``connect`` opens, from `start` to `stop`.
    """

    name = "traces"

    def __init__(
        self,
        connect: Callable[[], Sender],
        log: Logger,
        *,
        most: int = 4096,
        batch: int = 256,
        every: float = 1.0,
        stop_timeout: float = _STOP_TIMEOUT,
    ) -> None:
        self._connect = connect
        self._log = log
        self._most = most
        self._batch = batch
        self._every = every
        self._stop_timeout = stop_timeout
        self._waiting: deque[Span] = deque()
        self._wanted = Event()
        self._open = False
        self._sender: Sender | None = None
        self._failing = False
        # Each is counted by one thread only.
        self._sent = self._lost = 0
        self._refused = 0
        self._over: asyncio.Future[None] | None = None

    @property
    def stats(self) -> ExportStats:
        """What became of the spans so far."""
        return ExportStats(self._sent, self._lost + self._refused, len(self._waiting))

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("exporters", self.name, lambda: self.stats)

    def record(self, span: Span) -> None:
        """Take a span that has ended: the sink of a `Tracer`. Never waits, never raises."""
        waiting = self._waiting
        if len(waiting) >= self._most or not self._open:
            self._refused += 1
            return
        waiting.append(span)
        if len(waiting) == self._batch:
            self._wanted.set()

    async def start(self) -> None:
        """Begin to send. Errors: those of ``connect``."""
        if self._over is not None:
            raise RuntimeError("the export of traces is started already")
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._over = loop.create_future()
        self._open = True
        self._wanted.clear()
        # A daemon: an exporter that hangs must not keep the process from ending.
        Thread(
            target=self._work, args=(loop, ready, self._over), name="trace export", daemon=True
        ).start()
        await ready

    async def stop(self) -> None:
        """Send what waits, or give it up when time is over. May be repeated."""
        over, self._over = self._over, None
        if over is None:
            return
        self._open = False
        self._wanted.set()
        left = remaining()
        grace = self._stop_timeout if left is None else min(self._stop_timeout, left / 2)
        if self._failing:
            grace = min(grace, _LAST_TRY)
        try:
            await asyncio.wait([over], timeout=grace)
        finally:
            if self._sender is not None and not over.done():
                self._sender.close()
            self._refused += len(self._next(self._most))
        await asyncio.wait([over], timeout=grace / 4)

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        ready: "asyncio.Future[None]",
        over: "asyncio.Future[None]",
    ) -> None:
        try:
            sender = self._sender = self._connect()
        except Exception as exc:  # noqa: BLE001 - whoever started us is told
            _tell(loop, ready, exc)
            _tell(loop, over)
            return
        _tell(loop, ready)
        while self._open:
            self._wanted.wait(self._every)
            self._wanted.clear()
            self._send_all(sender)
        self._send_all(sender)
        sender.close()
        _tell(loop, over)

    def _send_all(self, sender: Sender) -> None:
        while spans := self._next(self._batch):
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

    def _next(self, most: int) -> list[Span]:
        spans: list[Span] = []
        with suppress(IndexError):
            while len(spans) < most:
                spans.append(self._waiting.popleft())
        return spans


def _tell(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]", exc: Exception | None = None
) -> None:
    def settle() -> None:
        if future.done():
            return
        if exc is None:
            future.set_result(None)
        else:
            future.set_exception(exc)

    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(settle)
