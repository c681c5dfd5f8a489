"""Load shedding: what cannot be done in good time is refused at once, the least important first.

Work is counted in and out. Up to ``most`` may be in flight while it gets through in good time, so
bursts and batches are welcome. When requests wait on average for longer than ``target``, or will by
Little's law, or the event loop lags as much, a queue stands that no patience shortens: the limit
falls with the delay, down to ``least``, and rises again afterwards. That is AIMD on the time spent
queueing, as in WeChat's DAGOR (Zhou et al., SoCC 2018); what is beyond the normal time is waiting.
Classes have shares of the limit: writes still pass where reads do not. Rejected: a gradient of
latencies alone, to which batching looks like a queue, and a lasting overload like the normal state.
Shared by the doors in ``web``, ``rpc`` and ``bus``; see `Admission`.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from paceline.clock import Clock

_SHARES: Final = (float("inf"), 1.0, 0.9, 0.6)
_FEW: Final = 8  # fewer requests than this say nothing of how long they take
_LEARN: Final = 0.05
_FASTEST_CUT: Final = 0.4
_GROWTH_UNDER_LOAD: Final = 1.05
_GROWTH: Final = 1.25
_PATIENCE: Final = 1.0
_QUIET: Final = 2.0  # seconds without a refusal after which it is over


class Priority(IntEnum):
    """What is refused last, first to last: probes never, then writes, reads, the background."""

    HEALTH = 0
    WRITE = 1
    READ = 2
    BACKGROUND = 3


class Logger(Protocol):
    """Where an overload is told: once when it begins, once when it is over."""

    def info(self, event: str, /, **fields: object) -> object:
        """Log that it is over."""
        ...

    def warning(self, event: str, /, **fields: object) -> object:
        """Log that it begins."""
        ...


@dataclass(frozen=True, slots=True)
class LoadSheddingStats:
    """How it stands: ``limit`` of what may be in flight; delays, normal ones and lag in seconds."""

    limit: int
    in_flight: int
    shedding: bool
    delay_seconds: float
    normal_seconds: float
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class AdmissionStats:
    """What a door has let in, and refused of each class."""

    admitted: int
    refused_writes: int
    refused_reads: int
    refused_background: int


class LoadShedder:
    """How much may be in flight just now.

    Settings: ``least`` and ``most`` in flight; ``target``: seconds of waiting on average that are
    good enough, 0 for a limit that stays at ``most``; ``interval``: seconds between adjustments.
    How long requests normally take is learned while no more than half of ``least`` is in flight;
    as much again is always good enough, for what is slow varies.

    *Resources*: one timer, from `start` to `stop`. Errors: ``ValueError`` for settings that are out
    of range.
    """

    name = "load shedding"

    def __init__(
        self,
        clock: Clock,
        log: Logger,
        *,
        least: int = 32,
        most: int = 1024,
        target: float = 0.05,
        interval: float = 0.025,
    ) -> None:
        if most < 1 or least < 1 or target < 0 or interval <= 0:
            raise ValueError("least and most from 1, target from 0, interval above 0")
        self.now = clock.monotonic
        self._log = log
        self._least = min(least, most)
        self._most = most
        self._target = target
        self._interval = interval
        self._limit = float(most)
        self._bounds = [share * most for share in _SHARES]
        self._in_flight = self._peak = 0
        self._since, self._done, self._spent = self.now(), 0, 0.0
        self._delay = self._normal = self._lag = 0.0
        self._refused = self._refused_before = 0
        self._overload: _Overload | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stats(self) -> LoadSheddingStats:
        """How it stands."""
        return LoadSheddingStats(
            int(self._limit), self._in_flight, self._overload is not None,
            self._delay, self._normal, self._lag,
        )  # fmt: skip

    async def start(self) -> None:
        """Begin to watch the event loop."""
        loop = asyncio.get_running_loop()
        self._watch(loop, loop.time())

    async def stop(self) -> None:
        """Watch no longer; the limit stays as it is."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._room.set()

    async def wait_for_capacity(self) -> None:
        """Wait until background work may begin: a second at most.

        It may not while as much as its share of the limit is in flight, or the event loop lags.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._room.wait()

    def refuses(self, priority: Priority) -> bool:
        """Whether there is no room for one more of this class. Counts nothing."""
        return self._in_flight >= self._bounds[priority]

    def enter(self) -> "Permit":
        """Count one in."""
        self._in_flight += 1
        if self._in_flight > self._peak:  # noqa: PLR1730 - a call of max costs more than all else
            self._peak = self._in_flight
        return Permit(self, self.now())

    def enter_background(self) -> "Permit":
        """Count one piece of background work in, such as a batch of messages.

        How long it takes depends on its size and says nothing of the load, so it does not count as
        a delay: long batches would else have requests refused.
        """
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        return Permit(self, None)

    def leave(self, entered_at: float | None) -> None:
        """Count one out; None when how long it took says nothing of the load."""
        self._in_flight -= 1
        if entered_at is not None:
            self._done += 1
            self._spent += self.now() - entered_at

    def note_refusal(self) -> None:
        """Count one that was not let in."""
        self._refused += 1

    def adjust(self, lag: float) -> None:
        """Set the limit by what has been since the last time; ``lag``: the event loop's."""
        now = self.now()
        refused = self._refused - self._refused_before
        self._lag = lag
        if self._done >= _FEW:
            delay = self._spent / self._done
            if not refused and self._peak <= self._least // 2:
                self._normal += (delay - self._normal) * _LEARN
            if self._in_flight > self._least and delay < self._target:
                # Those who are coming in will see what those who leave have not seen.
                delay = max(delay, self._in_flight * (now - self._since) / self._done)
            self._delay = delay
        elif not self._in_flight:
            self._delay = 0.0
        if self._target:
            self._set_limit(refused=refused > 0)
        self._tell(now, refused)
        self._refused_before = self._refused
        if self._done >= _FEW or not self._in_flight:
            self._since, self._done, self._spent = now, 0, 0.0
        self._peak = self._in_flight
        if self.refuses(Priority.BACKGROUND) or (self._target and lag > self._good_delay()):
            self._room.clear()
        else:
            self._room.set()

    def _set_limit(self, *, refused: bool) -> None:
        good = self._good_delay()
        worst = max(self._delay, self._lag)
        if worst <= good:
            limit = self._limit * (_GROWTH_UNDER_LOAD if refused else _GROWTH)
        elif self._peak > self._least:
            # Room that nobody used is no room.
            limit = min(self._limit, self._peak) * max(_FASTEST_CUT, good / worst)
        else:
            return
        self._limit = min(max(limit, self._least), self._most)
        self._bounds = [share * self._limit for share in _SHARES]

    def _good_delay(self) -> float:
        return self._normal + max(self._target, self._normal)

    def _tell(self, now: float, refused: int) -> None:
        overload = self._overload
        if refused:
            if overload is None:
                overload = self._overload = _Overload(now)
                self._log.warning(
                    "overloaded: some requests are refused",
                    limit=int(self._limit), in_flight=self._in_flight,
                    delay_ms=round(self._delay * 1000, 1), lag_ms=round(self._lag * 1000, 1),
                )  # fmt: skip
            overload.last = now
            overload.refused += refused
        elif overload is not None and now - overload.last >= _QUIET:
            self._overload = None
            self._log.info(
                "no longer overloaded",
                refused=overload.refused, seconds=round(overload.last - overload.since, 1),
            )  # fmt: skip

    def _watch(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self.adjust(max(0.0, now - due))
        due = now + self._interval
        self._timer = loop.call_at(due, self._watch, loop, due)


class _Overload:
    __slots__ = ("last", "refused", "since")

    def __init__(self, now: float) -> None:
        self.since = self.last = now
        self.refused = 0


class Permit:
    """One that was let in, until it is given back; giving it back again does nothing."""

    __slots__ = ("_entered_at", "_shedder")

    def __init__(self, shedder: LoadShedder, entered_at: float | None) -> None:
        self._shedder: LoadShedder | None = shedder
        self._entered_at = entered_at

    def leave(self) -> None:
        """It is done, however it ended."""
        shedder, self._shedder = self._shedder, None
        if shedder is not None:
            shedder.leave(self._entered_at)

    def leave_early(self) -> None:
        """It goes on for as long as its client likes (a stream), and is counted no more."""
        shedder, self._shedder = self._shedder, None
        if shedder is not None:
            shedder.leave(None)


class Admission:
    """One way in: asks its `LoadShedder`, which others share, and has counts of its own.

    ``name`` is for metrics: http, grpc.
    """

    def __init__(self, shedder: LoadShedder, name: str) -> None:
        self.name = name
        self._shedder = shedder
        self._admitted = 0
        self._refused = [0] * len(Priority)

    @property
    def stats(self) -> AdmissionStats:
        """What it has done so far."""
        _, writes, reads, background = self._refused
        return AdmissionStats(self._admitted, writes, reads, background)

    def enter(self, priority: Priority) -> Permit | None:
        """Let one in, whose ticket must be given back; or None, and it is to be refused."""
        if self.refuses(priority):
            return None
        self._admitted += 1
        return self._shedder.enter()

    def refuses(self, priority: Priority) -> bool:
        """Whether one more is to be refused, and count it then; who is not asks `enter` later."""
        if not self._shedder.refuses(priority):
            return False
        self._shedder.note_refusal()
        self._refused[priority] += 1
        return True
