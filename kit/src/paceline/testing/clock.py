"""A clock that moves only when a test says so.

`ManualClock` is a `paceline.clock.Clock`. The two readings move together with `advance`, and the
calendar alone with `jump`, so a test can show that an interval survives a corrected wall clock.
It never sleeps and wakes nobody: what waits on the event loop waits in real time.
"""


class ManualClock:
    """A clock at a fixed moment until it is moved.

    ``time`` is the calendar's start, in seconds since the Unix epoch.
    """

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._time = time
        self._monotonic = 1_000.0

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return self._time

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both readings; a negative number goes back, as none should."""
        self._time += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Correct the calendar by ``seconds``, as a time server does; intervals notice nothing."""
        self._time += seconds
