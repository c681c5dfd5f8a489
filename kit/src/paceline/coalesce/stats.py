"""What both kinds of coalescer have in common for whoever watches them: a name and figures.

Repositories and caches give theirs as ``coalescers``, so that ``main`` can hand them to the
metrics without knowing how many there are. What they do is in ``read`` and ``write``.
"""

from typing import Protocol

from paceline.coalesce.batching import CoalescerStats


class Coalescer(Protocol):
    """A `ReadCoalescer` or a `WriteCoalescer`."""

    @property
    def name(self) -> str:
        """What it is for."""
        ...

    @property
    def stats(self) -> CoalescerStats:
        """What it has done so far."""
        ...
