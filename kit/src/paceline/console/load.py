"""An HTTP load: so many connections kept alive, each with one request out at a time.

On asyncio's protocols, for an answer then costs one call of ours; a coroutine for each request
would double it. Invariant: of each request that was sent exactly one thing is counted: a status or
an error. Everything is bounded: connections by the plan, memory by a histogram, each answer by
``timeout``. Driven by ``bench``; read ``pace`` for when a request is due, then ``load_report``.
"""

import asyncio
import ssl
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ECONNRESET
from time import perf_counter
from typing import Final

from paceline.console.histogram import Histogram
from paceline.console.pace import AtOnce, Pace, Steady
from paceline.console.target import Target
from paceline.web.client import ClientConnection

_LOOK: Final = 0.1
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_LAST_WORDS: Final = 1.0
"""Seconds for outstanding answers when somebody wants it to end now."""
_SECONDS_KEPT: Final = 3600


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. Times in seconds; ``rate`` in requests a second, None for as many as it takes."""

    target: Target
    connections: int
    seconds: float
    rate: float | None = None
    timeout: float = 30.0
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Tally:
    """What came of it, so far. ``unsent``: due, and no connection was free until the end."""

    latencies: Histogram = field(default_factory=Histogram)
    statuses: Counter[int] = field(default_factory=Counter[int])
    errors: Counter[str] = field(default_factory=Counter[str])
    seconds: deque[int] = field(default_factory=lambda: deque[int](maxlen=_SECONDS_KEPT))
    elapsed: float = 0.0
    received: int = 0
    unsent: int = 0
    interrupted: bool = False

    @property
    def failed(self) -> int:
        """What was not answered, or with a status of 400 and above."""
        bad = sum(count for status, count in self.statuses.items() if status >= 400)  # noqa: PLR2004 - HTTP's
        return bad + self.errors.total() + self.unsent

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.latencies.count / self.elapsed if self.elapsed else 0.0


class Load:
    """One run of a plan.

    *Resources*: its connections and tasks, until `run` returns.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self.pace: Pace = AtOnce()
        self.running = False
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()
        self._idle: deque[_Lane] = deque()

    async def run(self) -> Tally:
        """Load the server until the time is over or `stop`. Errors: OSError when nobody listens."""
        lanes = [_Lane(self) for _ in range(self.plan.connections)]
        await lanes[0].connect()  # one that fails tells why, before there are a hundred
        start = perf_counter()
        if self.plan.rate is not None:
            self.pace = Steady(self.plan.rate, start)
        self.running = True
        tasks = [asyncio.create_task(lane.keep(), name="load connection") for lane in lanes]
        tasks.append(asyncio.create_task(self._dispatch(), name="load dispatch"))
        tasks.append(asyncio.create_task(self._watch(lanes, start), name="load watch"))
        try:
            await self._until(self.plan.seconds)
            self.running = False
            self.tally.unsent = self.pace.behind(min(perf_counter(), start + self.plan.seconds))
            self._ended.clear()
            with suppress(TimeoutError):
                patience = _LAST_WORDS if self.tally.interrupted else self.plan.timeout + 1
                async with asyncio.timeout(patience):
                    await self._quiet(lanes)
        finally:
            self.running = False
            self.tally.elapsed = perf_counter() - start
            await _end(tasks)
            await _close(lanes)
            self.tally.received = sum(lane.received for lane in lanes)
        return self.tally

    def stop(self) -> None:
        """End early; what was measured stays."""
        self.tally.interrupted = True
        self._ended.set()
        self._changed.set()

    def offer(self, lane: "_Lane") -> None:
        """A lane that can take a request; it gets one as soon as one is due."""
        due = self._take()
        if due is not None:
            lane.send(due)
        elif not lane.resting:
            lane.resting = True
            self._idle.append(lane)
            self.wake()

    def wake(self) -> None:
        """Something has changed: a lane is free, or lost its connection."""
        self._changed.set()

    def _take(self) -> float | None:
        return self.pace.take(perf_counter()) if self.running else None

    async def _until(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _dispatch(self) -> None:
        """Give what becomes due to lanes at rest; busy ones take theirs when they are done."""
        while True:
            while self._idle and not self._idle[0].open:
                self._idle.popleft().resting = False  # it comes back when it is open again
            while self._idle and (due := self._take()) is not None:
                lane = self._idle.popleft()
                lane.resting = False
                lane.send(due)
            if self._idle and self.running:
                await asyncio.sleep(self.pace.wait(perf_counter()))
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _watch(self, lanes: "list[_Lane]", start: float) -> None:
        """Cut off what takes too long, and keep the figures of each second."""
        before, second = 0, 1
        while True:
            await asyncio.sleep(_LOOK)
            now = perf_counter()
            for lane in lanes:
                lane.check(now)
            self.tally.elapsed = now - start
            self.tally.received = sum(lane.received for lane in lanes)
            if now >= start + second:
                count = self.tally.latencies.count
                self.tally.seconds.append(count - before)
                before, second = count, second + 1

    async def _quiet(self, lanes: "list[_Lane]") -> None:
        while any(lane.busy for lane in lanes) and not self._ended.is_set():
            self._changed.clear()
            await self._changed.wait()


class _Lane:
    """One place for a connection, which is opened again when it is lost."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._connection: ClientConnection | None = None
        self._gone = asyncio.Event()
        self._due = self._sent = 0.0
        self._before = 0
        self._cut_off = False
        self.resting = False

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def busy(self) -> bool:
        """Whether a request is out."""
        return self._connection is not None and self._connection.waiting

    @property
    def received(self) -> int:
        """Bytes of all its connections."""
        return self._before + (self._connection.received if self._connection else 0)

    async def keep(self) -> None:
        """Have a connection, for ever."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if self._connection is None:
                    await self.connect()
            except OSError as exc:
                self._load.tally.errors[f"cannot connect: {reason_of(exc)}"] += 1
            else:
                answered, self._cut_off = self._load.tally.latencies.count, False
                self._load.offer(self)
                await self._gone.wait()
                if self._load.tally.latencies.count > answered:
                    pause = _FIRST_PAUSE
                if not self._cut_off:
                    continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def connect(self) -> None:
        """Open a connection. Errors: OSError, TimeoutError among them."""
        plan = self._load.plan
        self._gone.clear()
        async with asyncio.timeout(plan.timeout):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: ClientConnection(self, bodiless=plan.target.method == "HEAD"),
                plan.target.host,
                plan.target.port,
                ssl=plan.tls,
            )
        if connection.closed:  # before anybody could be told
            raise ConnectionResetError(ECONNRESET, "closed at once")
        self._connection = connection

    def send(self, due: float) -> None:
        """Send the request that was due at that moment."""
        self._due, self._sent = due, perf_counter()
        if self._connection is not None:
            self._connection.send(self._load.plan.target.request)

    def check(self, now: float) -> None:
        """Give up on an answer that takes too long."""
        late = now > self._sent + self._load.plan.timeout
        if late and self._connection is not None and self.busy:
            self._connection.abort("no answer in time")

    async def end(self) -> None:
        """Close the connection, if any."""
        if self._connection is not None:
            self._connection.abort("given up at the end")
            await self._gone.wait()

    def answered(self, status: int, *, reusable: bool) -> None:
        """Told by the connection."""
        tally = self._load.tally
        tally.latencies.record(perf_counter() - self._due)
        tally.statuses[status] += 1
        if reusable:
            self._load.offer(self)
        elif self._connection is not None:
            self._connection.abort("")

    def lost(self, reason: str, *, unanswered: bool) -> None:
        """Told by the connection."""
        connection, self._connection = self._connection, None
        self._cut_off = unanswered
        if unanswered:
            self._load.tally.errors[reason] += 1
        if connection is not None:
            self._before += connection.received
        self._gone.set()
        self._load.wake()


def reason_of(exc: OSError) -> str:
    """Why there is no connection, without the address."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({exc.verify_message}); --insecure takes it"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    return (exc.strerror or type(exc).__name__).lower()


async def _close(lanes: list[_Lane]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            for lane in lanes:
                await lane.end()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
