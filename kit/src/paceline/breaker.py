"""A breaker: what keeps failing is left alone for a while, then tried by one call only.

Closed, it lets everybody through and counts failures in a row; at ``failures`` it opens, and for
``rest`` seconds every attempt is refused at once; then one attempt, the probe, decides. Invariant:
while it is not closed at most one attempt is out, and one that is cancelled decides nothing and
gives its turn back. Rejected: an error rate over a window, which needs more memory and says the
same of a dependency that is either there or away. Used by ``cache.redis``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from paceline.clock import Clock
from paceline.errors import Code, Error


class Rests(Error):
    """The breaker is open: nothing was tried."""

    kind = "breaker-open"

    def __init__(self, name: str) -> None:
        super().__init__(Code.UNAVAILABLE, f"{name} is left alone for a while after failures")


def every_exception(exc: Exception) -> bool:
    """Count each one as a failure."""
    del exc
    return True


def _nobody(exc: Exception | None) -> None:
    del exc


@dataclass(frozen=True, slots=True)
class BreakerStats:
    """Whether it is ``open``, and how many failures in a row there were."""

    open: bool
    failures: int


class Breaker:
    """Guards one dependency; ``with breaker.attempt():`` around each use of it.

    ``failures`` in a row open it, for ``rest`` seconds. ``is_failure`` says whether an exception
    speaks against the dependency; one that does not is as good as a success. ``on_change`` is told
    when it opens (with the exception that did it) and when it closes (with None). ``name`` is for
    errors. Errors: ``ValueError`` for settings out of range.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str,
        failures: int = 5,
        rest: float = 1.0,
        is_failure: Callable[[Exception], bool] = every_exception,
        on_change: Callable[[Exception | None], object] = _nobody,
    ) -> None:
        if failures < 1 or rest <= 0:
            raise ValueError("failures must be at least 1, rest above 0")
        self.name = name
        self._clock = clock
        self._failures = failures
        self._rest = rest
        self._is_failure = is_failure
        self._on_change = on_change
        self._in_a_row = 0
        self._closed = True
        self._opens_at = 0.0  # for a probe
        self._probe: _Attempt | None = None

    @property
    def closed(self) -> bool:
        """Whether everybody may pass."""
        return self._closed

    @property
    def stats(self) -> BreakerStats:
        """The figures of this moment."""
        return BreakerStats(not self._closed, self._in_a_row)

    def attempt(self) -> "_Attempt":
        """Surround a use. Errors: `Rests` on entering, while it is open."""
        return _Attempt(self)

    def enter(self, attempt: "_Attempt") -> None:
        """Let an attempt begin."""
        if self._closed:
            return
        if self._probe is not None or self._clock.monotonic() < self._opens_at:
            raise Rests(self.name)
        self._probe = attempt

    def leave(self, attempt: "_Attempt", exc: BaseException | None) -> None:
        """Take note of how an attempt ended."""
        probing = self._probe is attempt
        if probing:
            self._probe = None
        elif not self._closed:
            return  # it began before the breaker opened: no news
        if exc is not None and not isinstance(exc, Exception):
            return
        if exc is None or not self._is_failure(exc):
            self._in_a_row = 0
            if probing:
                self._closed = True
                self._on_change(None)
            return
        self._in_a_row += 1
        if probing:
            self._opens_at = self._clock.monotonic() + self._rest
        elif self._in_a_row >= self._failures:
            self._closed = False
            self._opens_at = self._clock.monotonic() + self._rest
            self._on_change(exc)


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
