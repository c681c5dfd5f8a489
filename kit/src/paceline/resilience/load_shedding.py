"""Load shedding: what cannot be served in good time is refused at once, the least important first.

Up to ``max_in_flight`` requests may be in flight as long as they are served in good time, so bursts
and batches pass. When requests wait for longer than ``target_delay`` on average, or will do so by
Little's law, or the event loop lags by as much again and again, a queue has formed that will not go
away by itself: the limit falls with the delay, down to ``min_in_flight``, and rises again
afterwards. This is AIMD on the time spent queueing, as in WeChat's DAGOR (Zhou et al., SoCC 2018);
what a request takes beyond the time it takes without load is queueing. Each `Priority` has a share
of the limit: writes still pass where reads are refused.

A pause is no overload. The time by which the event loop is late once is taken off the requests that
were in flight, and as many as were served in good time before are admitted until the delay has been
too long for as long as CoDel waits (RFC 8289: 100 ms). Otherwise a full garbage collection has
requests refused, whose clients are back at once and are refused thousands of times before the limit
has grown again.

Rejected: a gradient of latencies alone, to which batching looks like a queue, and a lasting
overload like the normal state; CoDel alone, which admits a thousand requests before it is sure.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from paceline.clock import Clock
from paceline.log import Logger
from paceline.stats import StatsEntry

_SHARES: Final = (float("inf"), 1.0, 0.9, 0.6)
_MIN_SAMPLES: Final = 8  # fewer requests say nothing about how long they take
_LEARNING_RATE: Final = 0.05
_MIN_FACTOR: Final = 0.4
_GROWTH_UNDER_LOAD: Final = 1.05
_GROWTH: Final = 1.25
_BETWEEN_PAUSES: Final = 1.0  # seconds; what is late more often is overloaded
_STANDING: Final = 0.1  # seconds; the interval of CoDel
_STANDING_SAMPLES: Final = 3
# What was served in good time while nothing was refused, and how much of it each adjustment keeps.
_SERVED_RATE: Final = 0.01
_SERVED_KEPT: Final = 0.99
_SERVED_KEPT_IF_LATE: Final = 0.97
_SERVED_KEPT_IF_TRIED: Final = 0.9
_SERVED_ROOM: Final = 1.25  # for the shares of reads, and for chance
_DELAY_UNDER_OVERLOAD: Final = 2.0  # times that of the good time before
_LEAST_DELAY: Final = 0.2  # of the target, under overload
_MAX_WAIT: Final = 1.0
_OVER_AFTER: Final = 2.0  # seconds without a refusal


class Priority(IntEnum):
    """Importance, highest first: health checks are never refused, background work is first."""

    HEALTH = 0
    WRITE = 1
    READ = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True)
class LoadSheddingStats:
    """The current ``limit``, what is ``in_flight``, and whether requests are refused now.

    In seconds: the recent average ``delay_seconds`` of requests, what they take without load
    (``normal_seconds``), and the event loop's ``lag_seconds``.
    """

    limit: int
    in_flight: int
    shedding: bool
    delay_seconds: float
    normal_seconds: float
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class AdmissionStats:
    """Requests admitted through one entry, and refused by priority."""

    admitted: int
    refused_writes: int
    refused_reads: int
    refused_background: int


class LoadShedder:
    """Decides how much may be in flight; every entry to the process has an `Admission` on it.

        shedder = LoadShedder(SystemClock(), log, max_in_flight=1024)
        http, grpc = Admission(shedder, "http"), Admission(shedder, "grpc")

    The limit moves between ``min_in_flight`` and ``max_in_flight``. ``target_delay``: seconds of
    queueing on average that are acceptable; 0 keeps the limit at ``max_in_flight``. ``interval``:
    seconds between adjustments. How long requests take without load is learned while at most half
    of ``min_in_flight`` are in flight; twice that is always acceptable, since slow requests vary.
    While requests are refused, less is acceptable: twice the delay that there was before, for a
    queue that cannot end need not be long.

    Errors: ``ValueError`` for settings out of range. *Resources*: one timer, from `start` to
    `stop`.
    """

    name = "load shedding"

    def __init__(
        self,
        clock: Clock,
        log: Logger,
        *,
        min_in_flight: int = 32,
        max_in_flight: int = 1024,
        target_delay: float = 0.05,
        interval: float = 0.025,
    ) -> None:
        if max_in_flight < 1 or min_in_flight < 1 or target_delay < 0 or interval <= 0:
            raise ValueError("bounds must be at least 1, target_delay at least 0, interval above 0")
        self._clock: Callable[[], float] = clock.monotonic
        self._stalled = 0.0  # seconds by which the event loop was late, once each
        self._log = log
        self._min = min(min_in_flight, max_in_flight)
        self._max = max_in_flight
        self._target = target_delay
        self._interval = interval
        self._limit = float(max_in_flight)
        self._bounds = [share * max_in_flight for share in _SHARES]
        self._in_flight = self._peak = 0
        self._served = 4.0 * self._min  # the most in flight in good time, of late
        self._served_delay = target_delay / 2  # on average
        self._next_pause = float("-inf")
        self._late_since: float | None = None
        self._late_samples = 0
        self._since, self._done, self._spent = self.now(), 0, 0.0
        self._delay = self._normal = self._lag = 0.0
        self._refused = self._refused_before = 0
        self._overload: _Overload | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Monotonic seconds, without those that the event loop lost in a pause."""
        return self._clock() - self._stalled

    @property
    def stats(self) -> LoadSheddingStats:
        """The state."""
        return LoadSheddingStats(
            int(self._limit), self._in_flight, self._overload is not None,
            self._delay, self._normal, self._lag,
        )  # fmt: skip

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("shedders", self.name, lambda: self.stats)

    async def start(self) -> None:
        """Begin to measure the event loop and to adjust the limit."""
        loop = asyncio.get_running_loop()
        self._tick(loop, loop.time())

    async def stop(self) -> None:
        """Measure no longer; the limit stays as it is."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._room.set()

    async def wait_for_capacity(self) -> None:
        """Wait until background work may begin: a second at most.

        It may not while as much as its share of the limit is in flight, or the event loop lags.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_MAX_WAIT):
                await self._room.wait()

    def is_full(self, priority: Priority) -> bool:
        """Whether one more request of this priority would be over the limit."""
        return self._in_flight >= self._bounds[priority]

    def admit(self) -> "Permit":
        """Count one request in, whatever the limit."""
        self._in_flight += 1
        if self._in_flight > self._peak:  # noqa: PLR1730 - a call of max costs more than all else
            self._peak = self._in_flight
        return Permit(self, self.now())

    def admit_background(self) -> "Permit":
        """Count one piece of background work in, such as a batch of messages.

        How long it takes depends on its size and says nothing about the load, so its duration is
        not measured: a long batch would else have requests refused.
        """
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        return Permit(self, None)

    def release(self, admitted_at: float | None) -> None:
        """Count one request out; None if its duration says nothing about the load."""
        self._in_flight -= 1
        if admitted_at is not None:
            self._done += 1
            self._spent += self.now() - admitted_at

    def pause(self) -> None:
        """Count one request out that waits for its client."""
        self._in_flight -= 1

    def resume(self) -> None:
        """Count it in again."""
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)

    def count_refusal(self) -> None:
        """Count a request that was refused."""
        self._refused += 1

    def adjust(self, lag: float) -> None:
        """Set the limit from what was measured since the last time; ``lag``: the event loop's."""
        pause = lag > self._interval >= self._lag and self._clock() >= self._next_pause
        if pause:
            self._next_pause = self._clock() + _BETWEEN_PAUSES
            self._stalled += lag  # the requests that were in flight are older by nobody's fault
        now = self.now()
        refused = self._refused - self._refused_before
        self._lag = lag
        if self._done >= _MIN_SAMPLES:
            delay = self._spent / self._done
            if not refused and self._peak <= self._min // 2:
                self._normal += (delay - self._normal) * _LEARNING_RATE
            if self._in_flight > self._min and delay < self._target:
                # By Little's law: what arrives now waits for longer than what ends now.
                delay = max(delay, self._in_flight * (now - self._since) / self._done)
            self._delay = delay
        elif not self._in_flight:
            self._delay = 0.0
        if self._target:
            self._set_limit(now, 0.0 if pause else lag, refused=refused > 0)
        self._log_overload(now, refused)
        self._refused_before = self._refused
        if self._done >= _MIN_SAMPLES or not self._in_flight:
            self._since, self._done, self._spent = now, 0, 0.0
        self._peak = self._in_flight
        if self.is_full(Priority.BACKGROUND) or (self._target and lag > self._good_delay()):
            self._room.clear()
        else:
            self._room.set()

    def _set_limit(self, now: float, lag: float, *, refused: bool) -> None:
        good, worst = self._good_delay(), max(self._delay, lag)
        served = self._served * _SERVED_ROOM
        if worst <= good:
            self._late_since, self._late_samples = None, 0
            if refused:
                limit = self._limit * _GROWTH_UNDER_LOAD
                if limit < served:
                    limit = served  # at once, but not for ever if it is too much now
                    self._served *= _SERVED_KEPT_IF_TRIED
            else:
                limit = self._limit * _GROWTH
                if self._done >= _MIN_SAMPLES:
                    self._served = max(self._served * _SERVED_KEPT, self._peak)
                    self._served_delay += (self._delay - self._served_delay) * _SERVED_RATE
        elif self._peak > self._min:
            if self._late_since is None:
                self._late_since = now
            self._late_samples += 1
            self._served *= _SERVED_KEPT_IF_LATE
            # Not from a limit that was never reached.
            limit = min(self._limit, self._peak) * max(_MIN_FACTOR, good / worst)
            standing = now - self._late_since >= _STANDING
            if not standing or self._late_samples < _STANDING_SAMPLES:
                limit = max(limit, min(self._limit, served))
        else:
            return
        self._limit = min(max(limit, self._min), self._max)
        self._bounds = [share * self._limit for share in _SHARES]

    def _good_delay(self) -> float:
        target = self._target
        if self._overload is not None:
            before = _DELAY_UNDER_OVERLOAD * self._served_delay
            target = min(target, max(before, _LEAST_DELAY * target))
        return self._normal + max(target, self._normal)

    def _log_overload(self, now: float, refused: int) -> None:
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
        elif overload is not None and now - overload.last >= _OVER_AFTER:
            self._overload = None
            self._log.info(
                "no longer overloaded",
                refused=overload.refused, seconds=round(overload.last - overload.since, 1),
            )  # fmt: skip

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self.adjust(max(0.0, now - due))
        due = now + self._interval
        self._timer = loop.call_at(due, self._tick, loop, due)


class _Overload:
    __slots__ = ("last", "refused", "since")

    def __init__(self, now: float) -> None:
        self.since = self.last = now
        self.refused = 0


class Permit:
    """An admitted request, until it is released; releasing it again does nothing.

    While it is paused it waits for its client, which is no work: it is not in flight, and the time
    does not count. Invariant: whoever pauses it resumes it before it is released.
    """

    __slots__ = ("_admitted_at", "_paused_at", "_shedder")

    def __init__(self, shedder: LoadShedder, admitted_at: float | None) -> None:
        self._shedder: LoadShedder | None = shedder
        self._admitted_at = admitted_at
        self._paused_at = 0.0

    def pause(self) -> None:
        """The request waits for more of its body; `resume` follows."""
        shedder = self._shedder
        if shedder is not None:
            self._paused_at = shedder.now()
            shedder.pause()

    def resume(self) -> None:
        """It goes on."""
        shedder = self._shedder
        if shedder is not None:
            shedder.resume()
            if self._admitted_at is not None:
                self._admitted_at += shedder.now() - self._paused_at

    def release(self) -> None:
        """The request is over, whatever its outcome."""
        shedder, self._shedder = self._shedder, None
        if shedder is not None:
            shedder.release(self._admitted_at)

    def release_early(self) -> None:
        """Count the request no longer, nor its duration: it goes on as a stream."""
        shedder, self._shedder = self._shedder, None
        if shedder is not None:
            shedder.release(None)


class Admission:
    """One entry to the process, such as the HTTP server: it has counters of its own.

    All entries of a process share one `LoadShedder`. ``name`` is for metrics: "http", "grpc".
    """

    def __init__(self, shedder: LoadShedder, name: str) -> None:
        self.name = name
        self._shedder = shedder
        self._admitted = 0
        self._refused = [0] * len(Priority)

    @property
    def stats(self) -> AdmissionStats:
        """The counters."""
        _, writes, reads, background = self._refused
        return AdmissionStats(self._admitted, writes, reads, background)

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: the counters."""
        yield StatsEntry("admission", self.name, lambda: self.stats)

    def admit(self, priority: Priority) -> Permit | None:
        """Admit a request, whose permit must be released; None: refuse it."""
        if self.refuse(priority):
            return None
        self._admitted += 1
        return self._shedder.admit()

    def refuse(self, priority: Priority) -> bool:
        """Whether a request is to be refused, which is then counted; otherwise `admit` follows."""
        if not self._shedder.is_full(priority):
            return False
        self._shedder.count_refusal()
        self._refused[priority] += 1
        return True
