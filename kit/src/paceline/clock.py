"""The clock as a dependency, so that tests can move time.

Two readings, never mixed: `Clock.time` is calendar time, for data (tokens, records), and may jump;
`Clock.monotonic` only grows, for intervals (rate limits).
"""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time: `SystemClock`, or a test's own."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The system's clock."""

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return time.monotonic()
