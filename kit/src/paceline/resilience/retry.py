"""Retry: once more, after a random pause, while it is safe, in time, and not too often.

Safe: the caller says that ``call`` may run more than once, and only failures of the way there are
repeated, UNAVAILABLE and ABORTED without a kind of their own; an error with a name has a meaning,
and a caller who knows it. In time: never beyond the ambient deadline. Not too often: a `Budget`
bounds retries to a tenth of all calls, as Finagle and gRPC do (gRFC A6), or an outage would be
asked for several times the load that it fell over from. Pauses have full jitter (Brooker,
"Exponential Backoff and Jitter", 2015), so those who failed together do not come back together.
Used around reads in ``repository`` and around whole transactions in ``pg``.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.resilience.budget import Budget

T = TypeVar("T")
TRANSIENT: Final = frozenset({Code.UNAVAILABLE, Code.ABORTED})


@dataclass(frozen=True, slots=True)
class RetryStats:
    """Calls, the retries they cost, and retries that the budget or the deadline did not allow."""

    calls: int
    retries: int
    denied: int


def is_transient(exc: Exception) -> bool:
    """Whether the next attempt may fare better, and nothing was done by this one."""
    return isinstance(exc, Error) and exc.code in TRANSIENT and not exc.kind


class Retry:
    """Makes calls, again when they fail. Settings: pauses in seconds.

    ``attempts`` in all; the n-th pause is anything up to ``first_pause * 2 ** n``, at most
    ``longest_pause``. ``retries``: which exceptions are repeated.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        attempts: int = 3,
        first_pause: float = 0.02,
        longest_pause: float = 0.5,
        retries: Callable[[Exception], bool] = is_transient,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if attempts < 1 or first_pause <= 0 or longest_pause < first_pause:
            raise ValueError("attempts must be at least 1, and pauses above 0, the longest last")
        self._budget = budget
        self._attempts = attempts
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._retries = retries
        self._draw = draw
        self._calls = self._repeated = self._denied = 0

    @property
    def stats(self) -> RetryStats:
        """What it has done so far."""
        return RetryStats(self._calls, self._repeated, self._denied)

    async def run(self, call: Callable[[], Awaitable[T]], *, attempts: int | None = None) -> T:
        """Await ``call()`` until it works. Only for what may run more than once.

        ``attempts``: for this call. Errors: the last one.
        """
        self._calls += 1
        self._budget.add()
        longest = self._first_pause
        for _ in range((attempts or self._attempts) - 1):
            try:
                return await call()
            except Exception as exc:
                if not self._retries(exc):
                    raise
                pause = self._draw(0.0, longest)
                if not self._may_pause(pause):
                    self._denied += 1
                    raise
            self._repeated += 1
            await asyncio.sleep(pause)
            longest = min(2 * longest, self._longest_pause)
        return await call()

    def _may_pause(self, seconds: float) -> bool:
        left = remaining()
        return (left is None or left > seconds) and self._budget.take()
