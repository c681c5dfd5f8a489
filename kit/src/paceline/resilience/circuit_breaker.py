"""A circuit breaker: a dependency that fails is called less, one that is down is not called at all.

While part of the attempts fail it rejects a share of them, by Google SRE's adaptive throttling
("Site Reliability Engineering", chapter 21): with K = 2, max(0, (requests - K * accepts) /
(requests + 1)) over the last seconds. The dependency then receives about twice what it can serve,
and the rest fails without waiting. That formula reacts only when half of a window has failed.
After ``failure_threshold`` failures in a row, as of a server that is down, the circuit opens at
once: for ``reset_timeout`` seconds every attempt is rejected, then one, the probe, decides.

Invariant: while the circuit is open at most one attempt is under way. A probe that is cancelled
decides nothing, and the next attempt is the probe.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from paceline.clock import Clock
from paceline.errors import Code, Error
from paceline.stats import StatsEntry

_K: Final = 2.0
_MIN_REQUESTS: Final = 20  # in a window; fewer say nothing about the share that fails


class CircuitOpen(Error):
    """The circuit breaker rejected the attempt: nothing was done."""

    kind = "breaker-open"

    def __init__(self, name: str) -> None:
        super().__init__(Code.UNAVAILABLE, f"{name} has failed too often: not tried for a while")


@dataclass(frozen=True, slots=True)
class CircuitBreakerStats:
    """Whether it is ``open``, and the attempts since the start by their outcome.

    ``rejected_share``: of the next attempt, from 0 to 1 (open).
    """

    open: bool
    rejected_share: float
    succeeded: int
    failed: int
    rejected: int


def every_exception(exc: Exception) -> bool:
    """Every exception counts as a failure of the dependency."""
    del exc
    return True


def _ignore_change(exc: Exception | None) -> None:
    del exc


class CircuitBreaker:
    """Guards one dependency.

        breaker = CircuitBreaker(SystemClock(), name="redis")
        with breaker.attempt():
            await client.get(key)

    ``name``: for errors. ``failure_threshold``: failures in a row that open it.
    ``reset_timeout``: seconds it stays open before the probe. ``window``: seconds over which the
    share of failures is taken, at least the last half of them. ``is_failure``: whether an exception
    speaks against the dependency; any other counts as a success. ``on_change``: called with the
    exception that opened it, and with None when it closes. ``random_share``: a number from 0 to 1.

    Errors: ``ValueError`` for settings out of range.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str,
        failure_threshold: int = 5,
        reset_timeout: float = 1.0,
        window: float = 10.0,
        is_failure: Callable[[Exception], bool] = every_exception,
        on_change: Callable[[Exception | None], object] = _ignore_change,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        if failure_threshold < 1 or reset_timeout <= 0 or window <= 0:
            raise ValueError("failure_threshold must be from 1, reset_timeout and window above 0")
        self.name = name
        self._clock = clock
        self._failure_threshold = failure_threshold
        self._reset_timeout = reset_timeout
        self._half_window = window / 2
        self._is_failure = is_failure
        self._on_change = on_change
        self._random_share = random_share
        self._consecutive_failures = 0
        self._closed = True
        self._probe_at = 0.0
        self._probe: _Attempt | None = None
        # Two counts, of this half of the window and of the one before, make a sliding window.
        self._half_ends_at = 0.0
        self._requests = self._requests_before = 0
        self._accepts = self._accepts_before = 0
        self._succeeded = self._failed = self._rejected = 0

    @property
    def closed(self) -> bool:
        """Whether attempts pass, but for the share that is rejected while part of them fail."""
        return self._closed

    @property
    def rejected_share(self) -> float:
        """How likely the next attempt is rejected, from 0 to 1."""
        if not self._closed:
            return 1.0
        requests = self._requests + self._requests_before
        if requests < _MIN_REQUESTS:
            return 0.0
        return max(0.0, (requests - _K * (self._accepts + self._accepts_before)) / (requests + 1))

    @property
    def stats(self) -> CircuitBreakerStats:
        """The state and the counters."""
        return CircuitBreakerStats(
            not self._closed, self.rejected_share, self._succeeded, self._failed,
            self._rejected,
        )  # fmt: skip

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("breakers", self.name, lambda: self.stats)

    def attempt(self) -> "_Attempt":
        """Surround one use of the dependency. Errors: `CircuitOpen` on entry, if rejected."""
        return _Attempt(self)

    def begin(self, attempt: "_Attempt") -> None:
        """Let an attempt pass, or reject it."""
        now = self._clock.monotonic()
        if self._closed:
            self._advance_window(now)
            if self._requests == self._accepts and not self._requests_before:
                return  # the usual case: nothing has failed
            share = self.rejected_share
            if not share or self._random_share() >= share:
                return
            self._requests += 1
        elif self._probe is None and now >= self._probe_at:
            self._probe = attempt
            return
        self._rejected += 1
        raise CircuitOpen(self.name)

    def end(self, attempt: "_Attempt", exc: BaseException | None) -> None:
        """Record the outcome of an attempt."""
        probing = self._probe is attempt
        if probing:
            self._probe = None
        elif not self._closed:
            return  # it began before the circuit opened and says nothing new
        if exc is not None and not isinstance(exc, Exception):
            return
        self._requests += 1
        if exc is None or not self._is_failure(exc):
            self._succeed(probing=probing)
        else:
            self._fail(exc, probing=probing)

    def _succeed(self, *, probing: bool) -> None:
        self._succeeded += 1
        self._accepts += 1
        self._consecutive_failures = 0
        if probing:
            # It is up again; what was counted before says nothing about it.
            self._closed = True
            self._requests = self._requests_before = 0
            self._accepts = self._accepts_before = 0
            self._on_change(None)

    def _fail(self, exc: Exception, *, probing: bool) -> None:
        self._failed += 1
        self._consecutive_failures += 1
        if probing:
            self._probe_at = self._clock.monotonic() + self._reset_timeout
        elif self._consecutive_failures >= self._failure_threshold:
            self._closed = False
            self._probe_at = self._clock.monotonic() + self._reset_timeout
            self._on_change(exc)

    def _advance_window(self, now: float) -> None:
        """Drop the counts that are older than the window."""
        if now < self._half_ends_at:
            return
        recent = now < self._half_ends_at + self._half_window
        self._requests_before = self._requests if recent else 0
        self._accepts_before = self._accepts if recent else 0
        self._requests = self._accepts = 0
        self._half_ends_at = now + self._half_window


class _Attempt:
    __slots__ = ("_breaker",)

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._breaker.begin(self)

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._breaker.end(self, exc)
