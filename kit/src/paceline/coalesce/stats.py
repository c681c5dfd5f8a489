"""The counters of a coalescer, the same for reads and for writes."""

from dataclasses import dataclass


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
