"""Coalescing: calls that are in flight at the same time share one round trip.

A call that is alone runs at once. While its batch is in flight, later calls queue up and form the
next batch, so batches grow with the load and no call waits for a timer. Two kinds:

`ReadCoalescer` reads by key, and equal keys are read once. In Go: a dataloader without its wait
window, plus ``singleflight``.
`WriteCoalescer` applies every item, each one separately and in order of arrival: group commit.

Invariants of both: each caller gets exactly one outcome, its own result or its own error, whatever
becomes of the other calls; and a call joins only a batch that has not begun, so a read that starts
after a write was acknowledged sees that write.
"""

from paceline.coalesce.observer import BatchStart, Observer
from paceline.coalesce.read import ReadCoalescer
from paceline.coalesce.stats import CoalescerStats
from paceline.coalesce.write import WriteCoalescer, WriteOutcomeUnknown

__all__ = [
    "BatchStart",
    "CoalescerStats",
    "Observer",
    "ReadCoalescer",
    "WriteCoalescer",
    "WriteOutcomeUnknown",
]
