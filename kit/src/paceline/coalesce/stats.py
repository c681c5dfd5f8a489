"""What can be read of a coalescer while it runs: its name and its counters.

A repository lists its coalescers as `Coalescer`, so that metrics can show them without knowing
which kind each one is, or what it reads or writes.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CoalescerStats:
    """Counters since the start, and two gauges of this moment.

    Counters: ``calls`` accepted; calls ``refused`` because too many waited; ``batches`` started;
    ``items`` in those batches; ``largest_batch``, in items. Gauges: calls ``waiting`` for a batch
    to start; batches ``in_flight``.
    """

    calls: int
    refused: int
    batches: int
    items: int
    largest_batch: int
    waiting: int
    in_flight: int


class Coalescer(Protocol):
    """A `ReadCoalescer` or a `WriteCoalescer`."""

    @property
    def name(self) -> str:
        """What it does, as errors, metrics and spans call it: "reading records"."""
        ...

    @property
    def stats(self) -> CoalescerStats:
        """The counters."""
        ...
