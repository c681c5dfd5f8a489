"""Coalescing: calls that are in flight together share one trip.

A call with nobody beside it goes at once; while a trip is out, later calls gather for the next one.
Two kinds, because reads and writes want different things: `ReadCoalescer` makes equal keys one,
`WriteCoalescer` keeps every call apart and in order of arrival. Invariant of both: each caller gets
its own result or its own error, exactly one, whatever happens to the others; and a trip carries
only what was asked before it departed, so a read that starts after a write was acknowledged sees
it. Used by repositories; read ``read``, ``write``, then ``trips``, which moves them.
"""

from paceline.coalesce.batching import CoalescerStats
from paceline.coalesce.observer import BatchStart, Observer
from paceline.coalesce.read import ReadCoalescer
from paceline.coalesce.stats import Coalescer
from paceline.coalesce.write import WriteCoalescer, WriteOutcomeUnknown

__all__ = [
    "BatchStart",
    "Coalescer",
    "CoalescerStats",
    "Observer",
    "ReadCoalescer",
    "WriteCoalescer",
    "WriteOutcomeUnknown",
]
