"""Which offset of a partition may be committed: the lowest that is delivered and not settled.

Invariant: `committable` never passes an offset that was delivered and not settled, in whatever
order they are settled, so a crash costs redeliveries and never a message. A tracker lives as long
as the partition is assigned to this process. Once ``revoked`` it is not to be settled any more: the
next owner of the partition gets its deliveries again.
"""

from heapq import heappop, heappush


class OffsetTracker:
    """The deliveries of one partition, while it is assigned to this process."""

    def __init__(self) -> None:
        self.revoked = False
        self._unsettled: set[int] = set()
        self._lowest: list[int] = []
        self._next = 0
        self._committed = 0

    def add(self, offset: int) -> None:
        """Note a delivery."""
        self._unsettled.add(offset)
        heappush(self._lowest, offset)
        self._next = max(self._next, offset + 1)

    def settle(self, offset: int) -> None:
        """Note that it need not be delivered again."""
        self._unsettled.discard(offset)

    def committable(self) -> int | None:
        """The offset at which the next owner has to begin; None when that is committed already."""
        while self._lowest and self._lowest[0] not in self._unsettled:
            heappop(self._lowest)
        lowest = self._lowest[0] if self._lowest else self._next
        return lowest if lowest > self._committed else None

    def note_committed(self, offset: int) -> None:
        """Note that the broker has it."""
        self._committed = max(self._committed, offset)
