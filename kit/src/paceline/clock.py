"""The clock as a dependency: what expires takes one, so a test can move time.

Two readings, never mixed: `Clock.time` is the calendar's (tokens, records), may jump, and goes
into data; `Clock.monotonic` only ever grows and is for intervals (rate limits). Used by
``paceline.auth`` and ``paceline.resilience.rate_limit``.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return time.monotonic()
