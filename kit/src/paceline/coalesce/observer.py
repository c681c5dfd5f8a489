"""A hook around each batch, for tracing: which calls it serves and how long they waited.

`Observer.capture` runs in the context of each caller, so it can keep the caller's span;
`Observer.batch` receives all that was captured and surrounds the batch, so that the batch's one
span can be linked to the span of every caller. A coalescer without an observer pays nothing for it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BatchStart:
    """A batch that is about to run.

    ``name``: of its coalescer. ``items``: how many it has. ``captured`` and ``waited`` have one
    entry for each caller, in the same order: what `Observer.capture` returned, and the seconds
    from the call to this moment.
    """

    name: str
    items: int
    captured: Sequence[object]
    waited: Sequence[float]


class Observer(Protocol):
    """Observes the batches of any number of coalescers."""

    def capture(self) -> object:
        """Called in the context of each caller, at its call; see `BatchStart.captured`."""
        ...

    def batch(self, start: BatchStart) -> AbstractContextManager[object]:
        """Surround a batch; the block ends with an exception if the whole batch failed."""
        ...
