"""What may be committed of a partition: everything below the lowest delivery that is not settled.

Invariant: `to_commit` never passes an offset that was taken and not settled, whatever the order in
which they are settled, so a crash costs redeliveries and never a message. It lives as long as the
partition is ours: once revoked it is `lost`, and what is said of its deliveries counts for nothing,
since whoever has the partition next gets them again. Used by ``kafka_source``.
"""

from heapq import heappop, heappush


class Offsets:
    """The deliveries of one partition, for as long as it is assigned to us."""

    def __init__(self) -> None:
        self.lost = False
        self._open: set[int] = set()
        self._lowest: list[int] = []
        self._next = 0
        self._committed = 0

    def take(self, offset: int) -> None:
        """It was delivered."""
        self._open.add(offset)
        heappush(self._lowest, offset)
        self._next = max(self._next, offset + 1)

    def settle(self, offset: int) -> None:
        """It needs not come again."""
        self._open.discard(offset)

    def to_commit(self) -> int | None:
        """Where a successor has to begin; None when the broker knows."""
        while self._lowest and self._lowest[0] not in self._open:
            heappop(self._lowest)
        floor = self._lowest[0] if self._lowest else self._next
        return floor if floor > self._committed else None

    def committed(self, offset: int) -> None:
        """The broker knows."""
        self._committed = max(self._committed, offset)
