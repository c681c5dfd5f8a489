"""A budget for further attempts: a part of all calls at most, so that trouble is not multiplied.

A token bucket that is filled by calls and not by time, as Finagle and gRPC (gRFC A6) bound retries:
in an outage everybody would try again, and ask for several times the load that it fell over from.
"""


class Budget:
    """Each call adds ``ratio``, each further attempt takes one.

    ``burst``: the most that can be saved up, and what there is at first.
    Errors: ``ValueError`` for what is out of range.
    """

    def __init__(self, *, ratio: float = 0.1, burst: float = 10.0) -> None:
        if not 0 <= ratio <= 1 or burst < 1:
            raise ValueError("the ratio must be from 0 to 1, the burst at least 1")
        self._ratio = ratio
        self._burst = burst
        self._left = burst

    def add(self) -> None:
        """A call was made."""
        self._left = min(self._left + self._ratio, self._burst)

    def take(self) -> bool:
        """Take one further attempt, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
