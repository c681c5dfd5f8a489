"""Retries with exponential backoff, within the deadline and within a budget.

Retried by default is only what failed on the way, UNAVAILABLE and ABORTED without a ``kind`` of
their own: an error with a name has a meaning for the caller. A retry never waits beyond the current
deadline. A budget bounds retries to a tenth of all calls, as Finagle's and gRPC's do (gRFC A6):
without one, an outage multiplies the load that caused it. Pauses have full jitter (Brooker,
"Exponential Backoff and Jitter", 2015), so that clients which failed together do not return
together.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from paceline.concurrency import remaining
from paceline.errors import Code, Error

T = TypeVar("T")
_TRANSIENT: Final = frozenset({Code.UNAVAILABLE, Code.ABORTED})


@dataclass(frozen=True, slots=True)
class RetryStats:
    """Since the start: ``calls``; ``retries`` made; those ``denied`` by the budget or deadline."""

    calls: int
    retries: int
    denied: int


def is_transient(exc: Exception) -> bool:
    """Whether the attempt did nothing and the next one may succeed."""
    return isinstance(exc, Error) and exc.code in _TRANSIENT and not exc.kind


class RetryBudget:
    """Retries as a fraction of calls: a token bucket that calls fill, not time.

    Each call adds ``ratio`` of a retry; at most ``burst`` retries are saved up, and that many are
    there at the start. Several `Retry` may share one budget.

    Errors: ``ValueError`` for a ratio outside 0 to 1 or a burst below 1.
    """

    def __init__(self, *, ratio: float = 0.1, burst: float = 10.0) -> None:
        if not 0 <= ratio <= 1 or burst < 1:
            raise ValueError("ratio must be from 0 to 1, burst at least 1")
        self._ratio = ratio
        self._burst = burst
        self._available = burst

    def deposit(self) -> None:
        """Count a call."""
        self._available = min(self._available + self._ratio, self._burst)

    def try_withdraw(self) -> bool:
        """Take one retry; False when there is none left."""
        if self._available < 1:
            return False
        self._available -= 1
        return True


class Retry:
    """Runs calls and repeats those that fail.

        retry = Retry(RetryBudget())
        rows = await retry.run(lambda: pool.fetch("SELECT …"))

    ``max_attempts``: all in all, the first included. The pause before the n-th retry is random, up
    to ``initial_backoff * 2 ** (n - 1)`` seconds and never more than ``max_backoff``.
    ``is_retryable``: which exceptions are worth another attempt.

    Errors: ``ValueError`` for settings out of range.
    """

    def __init__(
        self,
        budget: RetryBudget,
        *,
        max_attempts: int = 3,
        initial_backoff: float = 0.02,
        max_backoff: float = 0.5,
        is_retryable: Callable[[Exception], bool] = is_transient,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if max_attempts < 1 or initial_backoff <= 0 or max_backoff < initial_backoff:
            raise ValueError("max_attempts must be from 1, and 0 < initial_backoff <= max_backoff")
        self._budget = budget
        self._max_attempts = max_attempts
        self._initial_backoff = initial_backoff
        self._max_backoff = max_backoff
        self._is_retryable = is_retryable
        self._jitter = jitter
        self._calls = self._retries = self._denied = 0

    @property
    def stats(self) -> RetryStats:
        """The counters."""
        return RetryStats(self._calls, self._retries, self._denied)

    async def run(self, call: Callable[[], Awaitable[T]], *, max_attempts: int | None = None) -> T:
        """Await ``call()`` until it succeeds. Only for what may safely run more than once.

        ``max_attempts``: for this call, instead of the setting.

        Errors: that of the last attempt.
        """
        self._calls += 1
        self._budget.deposit()
        backoff = self._initial_backoff
        for _ in range((max_attempts or self._max_attempts) - 1):
            try:
                return await call()
            except Exception as exc:
                if not self._is_retryable(exc):
                    raise
                pause = self._jitter(0.0, backoff)
                if not self._may_retry_after(pause):
                    self._denied += 1
                    raise
            self._retries += 1
            await asyncio.sleep(pause)
            backoff = min(2 * backoff, self._max_backoff)
        return await call()

    def _may_retry_after(self, seconds: float) -> bool:
        left = remaining()
        return (left is None or left > seconds) and self._budget.try_withdraw()
