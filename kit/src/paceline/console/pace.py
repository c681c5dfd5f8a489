"""When the next request is due: at once (closed loop), or by the clock (open loop).

In a closed loop a slow server is asked less often, and its slowness hides itself. In an open loop
each request has its moment, whatever the server does, and its latency counts from that moment: the
wait for a free connection included. That is what corrects for coordinated omission (G. Tene, "How
NOT to measure latency"). Used by ``load``.
"""

from typing import Protocol


class Pace(Protocol):
    """The schedule of one load. Times are ``time.perf_counter``'s."""

    def take(self, now: float) -> float | None:
        """The moment of a request that is due, which is then taken; None when none is."""
        ...

    def wait(self, now: float) -> float:
        """Seconds until the next one is due."""
        ...

    def behind(self, until: float) -> int:
        """How many were due before ``until`` and have not been taken."""
        ...


class AtOnce:
    """A request is always due."""

    def take(self, now: float) -> float | None:
        """Now."""
        return now

    def wait(self, now: float) -> float:  # noqa: ARG002 - the protocol's
        """Nothing."""
        return 0.0

    def behind(self, until: float) -> int:  # noqa: ARG002 - the protocol's
        """Never."""
        return 0


class Steady:
    """``rate`` requests a second from ``start`` on, evenly spaced."""

    def __init__(self, rate: float, start: float) -> None:
        self._every = 1 / rate
        self._start = start
        self._taken = 0

    def take(self, now: float) -> float | None:
        """The oldest moment that has come."""
        due = self._start + self._taken * self._every
        if due > now:
            return None
        self._taken += 1
        return due

    def wait(self, now: float) -> float:
        """Until the next moment."""
        return max(self._start + self._taken * self._every - now, 0.0)

    def behind(self, until: float) -> int:
        """Those that had no connection in time."""
        due = int((until - self._start) / self._every)
        return max(due - self._taken, 0)
