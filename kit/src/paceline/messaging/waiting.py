"""How long to wait: pauses between attempts, and timeouts within the caller's deadline.

The pauses are for loops that run for as long as the service does; what a caller waits for is
repeated by ``paceline.resilience.Retry``, within a budget.
"""

import asyncio

from paceline.concurrency import remaining


class Backoff:
    """Pauses between attempts that have no other limit: each twice as long as the last.

    ``first`` and ``longest`` are in seconds.
    """

    def __init__(self, first: float, longest: float) -> None:
        self.next: float = first
        self._first = first
        self._longest = longest

    async def pause(self) -> None:
        """Wait for `next` seconds, and for twice as long the next time."""
        pause, self.next = self.next, min(2 * self.next, self._longest)
        await asyncio.sleep(pause)

    def reset(self) -> None:
        """Begin with the first pause again, after a success."""
        self.next = self._first


def within_deadline(seconds: float) -> float:
    """A timeout of ``seconds``, or what is left of the ambient deadline if that is less."""
    left = remaining()
    return seconds if left is None else min(seconds, left)
