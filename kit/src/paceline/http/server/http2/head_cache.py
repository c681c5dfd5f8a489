"""Heads that came before, for all connections of a server: clients send the same ones again.

A few heads are known to their connection; this is for a client that sends more than those, such as
one that passes on its own callers' tokens. What the bytes of a head mean depends on the dynamic
table, so a head is found by its bytes and the table's number. Invariant: one number means one
content, whichever connection's; bytes that change the table are not kept. Bounded: so many of each.
"""

from collections.abc import Hashable
from itertools import count
from typing import Final

from paceline.http.server.http2.request_head import RequestHead

_MAX_HEADS: Final = 2_048
_MAX_TABLES: Final = 256
_MAX_SEEN: Final = 8_192


class HeadCache:
    """The heads that one server knows: ``heads[table, block]``."""

    __slots__ = ("_numbers", "_seen", "_tables", "heads")

    def __init__(self) -> None:
        self.heads: dict[tuple[int, bytes], RequestHead] = {}
        self._tables: dict[Hashable, int] = {}
        self._numbers = count(1)
        self._seen: set[int] = set()

    def table(self, content: Hashable) -> int:
        """The number of a table with this content."""
        number = self._tables.get(content)
        if number is None:
            if len(self._tables) >= _MAX_TABLES:
                self._tables.clear()  # numbers are not used again
            number = self._tables[content] = next(self._numbers)
        return number

    def add(self, table: int, block: bytes, head: RequestHead) -> None:
        """Keep a head."""
        if len(self.heads) >= _MAX_HEADS:
            self.heads.clear()
        self.heads[table, block] = head

    def came_before(self, block: bytes) -> bool:
        """Whether these bytes have come before, from whomever; they have now.

        What comes only once, such as a trace's id, is not worth a place.
        """
        number = hash(block)
        if number in self._seen:
            return True
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        self._seen.add(number)
        return False
