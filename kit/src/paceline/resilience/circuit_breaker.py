"""A breaker: what fails is asked less, and what is away is left alone, but for a probe.

Of a dependency that fails in part it refuses a share, Google SRE's adaptive throttling: with K = 2,
max(0, (requests - K * accepts) / (requests + 1)) over the last seconds ("Site Reliability
Engineering", chapter 21), so it is asked for about twice what it can do, and the rest costs nobody
a wait. That reacts only when half of a window has failed; after ``failures`` in a row, which is
what a server that is away looks like, it opens at once: for ``rest`` seconds nobody passes, then
one attempt, the probe, decides. Invariant: while it is open at most one attempt is out, and one
that is cancelled decides nothing and gives its turn back. Used by ``cache.redis``.
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
_FEW: Final = 20  # fewer requests in a window say nothing of the share that fails


class CircuitOpen(Error):
    """The breaker refused: nothing was tried."""

    kind = "breaker-open"

    def __init__(self, name: str) -> None:
        super().__init__(Code.UNAVAILABLE, f"{name} is left alone for a while after failures")


@dataclass(frozen=True, slots=True)
class BreakerStats:
    """Attempts so far and what became of them; ``share`` is refused of those to come, 1 if open."""

    open: bool
    share: float
    succeeded: int
    failed: int
    refused: int


def every_exception(exc: Exception) -> bool:
    """Count each one as a failure."""
    del exc
    return True


def _nobody(exc: Exception | None) -> None:
    del exc


class Breaker:
    """Guards one dependency; ``with breaker.attempt():`` around each use of it.

    ``failures`` in a row open it, for ``rest`` seconds. ``window``: over how many seconds, at least
    half of that, the share of failures is taken. ``is_failure`` says whether an exception speaks
    against the dependency; one that does not is as good as a success. ``on_change`` is told when it
    opens (with the exception that did it) and when it closes (with None). ``name`` is for errors.
    ``draw`` gives a number from 0 to 1. Errors: ``ValueError`` for settings out of range.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str,
        failures: int = 5,
        rest: float = 1.0,
        window: float = 10.0,
        is_failure: Callable[[Exception], bool] = every_exception,
        on_change: Callable[[Exception | None], object] = _nobody,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if failures < 1 or rest <= 0 or window <= 0:
            raise ValueError("failures must be at least 1, rest and window above 0")
        self.name = name
        self._clock = clock
        self._failures = failures
        self._rest = rest
        self._half = window / 2
        self._is_failure = is_failure
        self._on_change = on_change
        self._draw = draw
        self._in_a_row = 0
        self._closed = True
        self._opens_at = 0.0  # for a probe
        self._probe: _Attempt | None = None
        self._turns_at = 0.0
        self._requests = self._requests_before = 0  # of this half of the window, and the one before
        self._accepts = self._accepts_before = 0
        self._succeeded = self._failed = self._refused = 0

    @property
    def closed(self) -> bool:
        """Whether it lets through, but for a share of what fails in part."""
        return self._closed

    @property
    def share(self) -> float:
        """How likely the next attempt is refused."""
        if not self._closed:
            return 1.0
        requests = self._requests + self._requests_before
        if requests < _FEW:
            return 0.0
        return max(0.0, (requests - _K * (self._accepts + self._accepts_before)) / (requests + 1))

    @property
    def stats(self) -> BreakerStats:
        """How it stands, and what it has done so far."""
        return BreakerStats(
            not self._closed, self.share, self._succeeded, self._failed, self._refused
        )

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done so far."""
        yield StatsEntry("breakers", self.name, lambda: self.stats)

    def attempt(self) -> "_Attempt":
        """Surround a use. Errors: `CircuitOpen` on entering, when it is refused."""
        return _Attempt(self)

    def enter(self, attempt: "_Attempt") -> None:
        """Let an attempt begin."""
        now = self._clock.monotonic()
        if self._closed:
            self._turn(now)
            if self._requests == self._accepts and not self._requests_before:
                return  # the usual case
            share = self.share
            if not share or self._draw() >= share:
                return
            self._requests += 1
        elif self._probe is None and now >= self._opens_at:
            self._probe = attempt
            return
        self._refused += 1
        raise CircuitOpen(self.name)

    def leave(self, attempt: "_Attempt", exc: BaseException | None) -> None:
        """Take note of how an attempt ended."""
        probing = self._probe is attempt
        if probing:
            self._probe = None
        elif not self._closed:
            return  # it began before the breaker opened: no news
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
        self._in_a_row = 0
        if probing:
            # It is back, and what was before says nothing of it.
            self._closed = True
            self._requests = self._requests_before = 0
            self._accepts = self._accepts_before = 0
            self._on_change(None)

    def _fail(self, exc: Exception, *, probing: bool) -> None:
        self._failed += 1
        self._in_a_row += 1
        if probing:
            self._opens_at = self._clock.monotonic() + self._rest
        elif self._in_a_row >= self._failures:
            self._closed = False
            self._opens_at = self._clock.monotonic() + self._rest
            self._on_change(exc)

    def _turn(self, now: float) -> None:
        """Forget what is older than the window."""
        if now < self._turns_at:
            return
        recent = now < self._turns_at + self._half
        self._requests_before = self._requests if recent else 0
        self._accepts_before = self._accepts if recent else 0
        self._requests = self._accepts = 0
        self._turns_at = now + self._half


class _Attempt:
    __slots__ = ("_breaker",)

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._breaker.enter(self)

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._breaker.leave(self, exc)
