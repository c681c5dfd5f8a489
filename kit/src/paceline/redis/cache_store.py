"""Where cached bytes are kept: the protocol that keeps stale values out.

A reader that misses takes a *lease* before it fetches, and its fill is accepted only if that very
lease still exists. A writer *blocks* the entry before its change and *releases* it afterwards; both
remove the value and the lease, so nothing that was fetched before the change can be filled any
more. Rejected: version counters with a time to live, since one that was evicted or expired looks
like one that never changed; a lease that is lost only refuses a fill.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class ChangeKind(StrEnum):
    """What a change does to an entry."""

    FILL = "fill"
    BLOCK = "block"
    RELEASE = "release"


class EntryChange(msgspec.Struct, frozen=True):
    """One change of one entry.

    ``token``: of the lease to fill under, or of the writer that blocks or releases. ``seconds``:
    how long the value or the block lasts. ``value``: the bytes to fill in.
    """

    kind: ChangeKind
    key: str
    token: str = ""
    seconds: float = 0.0
    value: bytes = b""


class Lease(msgspec.Struct, frozen=True):
    """Permission to fill an entry: a ``token``, and whether it is ``new`` with this call.

    Two readers may hold the same one. Without a token the entry is blocked: fetch, do not fill.
    """

    token: str
    new: bool = False


class CacheStore(Protocol):
    """What `CacheAside` needs of a store. Each raises `Error` when the store is unavailable."""

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The values, None for one that is not stored."""
        ...

    async def lease(self, keys: Sequence[str], seconds: float) -> Sequence[Lease]:
        """The lease of each entry; a new one, for ``seconds``, where there is none."""
        ...

    async def change(self, changes: Sequence[EntryChange]) -> Sequence[bool]:
        """Apply changes in order; False for a fill that was refused."""
        ...
