"""What a coalescer tells whoever watches it: each trip, who is on it, how long they waited.

Tracing and metrics hook in here: `Observer.mark` runs in each caller's own context, so it can keep
the caller's span; `Observer.trip` gets all marks back and surrounds the trip, so that one span a
trip can be linked to every caller's. Without an observer nothing of this is paid for. Called by
``trips``.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BatchStart:
    """A trip that begins.

    ``size``: how many items it carries. ``marks`` and ``waited`` have one entry for each caller,
    in one order: what `Observer.mark` returned, and the seconds from the call to the departure.
    """

    name: str
    size: int
    marks: Sequence[object]
    waited: Sequence[float]


class Observer(Protocol):
    """Watches the trips of a coalescer."""

    def mark(self) -> object:
        """Called in the context of each caller when it calls; see `BatchStart.marks`."""
        ...

    def trip(self, departure: BatchStart) -> AbstractContextManager[object]:
        """Surround a trip; it leaves with an exception when the whole trip failed."""
        ...
