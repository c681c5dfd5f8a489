"""A clock that a test moves by hand.

`ManualClock` is a `paceline.clock.Clock`. `advance` moves both readings, `jump` the wall clock
alone, so that a test can show that an interval survives a corrected wall clock. It does not drive
the event loop: timers of the loop run in real time.
"""


class ManualClock:
    """A clock that stands still until it is moved.

    ``time``: the initial wall clock, in seconds since the Unix epoch.
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
        """Move both readings by ``seconds``; a negative number moves them back."""
        self._time += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Move the wall clock by ``seconds``, as a time server does; intervals are unaffected."""
        self._time += seconds
