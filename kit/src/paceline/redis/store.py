"""Where cached bytes are: Redis, and the protocol that keeps a stale value from coming back.

A reader that misses takes a *lease* before it fetches, and its fill is accepted only if that very
lease is still there. A writer *blocks* the entry before its change and *releases* it after; both
remove the value and the lease, so whatever was fetched before the change can no longer be filled.
Rejected: generations with a time to live, since one that was evicted or expired looks like one that
never changed; a lease that is lost only refuses a fill. Used by ``aside``; see ``scripts``.
"""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import chain, count
from typing import Final, Protocol, cast
from uuid import uuid4

import msgspec

from paceline.redis.client import Redis
from paceline.redis.connection_pool import Word
from paceline.redis.scripts import CHANGE, LEASE

_LONGEST_KEY: Final = 128


class Kind(StrEnum):
    """What a change does to an entry."""

    FILL = "fill"
    BLOCK = "block"
    RELEASE = "release"


class Change(msgspec.Struct, frozen=True):
    """One change of one entry.

    ``token``: of the lease to fill under, or of the writer that blocks or releases. ``seconds``:
    how long the value or the block lasts. ``value``: what to fill in.
    """

    kind: Kind
    key: str
    token: str = ""
    seconds: float = 0.0
    value: bytes = b""


class Lease(msgspec.Struct, frozen=True):
    """Leave to fill an entry: a ``token``, and whether it was made ``new`` for this call.

    Two readers may hold the same one. Without a token the entry is blocked: fetch, do not fill.
    """

    token: str
    new: bool = False


class Store(Protocol):
    """What `CacheAside` needs of a store. Errors of each: `Error`, when it is not available."""

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """The values, None for one that is not there."""
        ...

    async def lease(self, keys: Sequence[str], seconds: float) -> Sequence[Lease]:
        """The lease of each entry, placed for ``seconds`` where there is none."""
        ...

    async def change(self, changes: Sequence[Change]) -> Sequence[bool]:
        """Apply changes in order; False for a fill that was refused."""
        ...


class RedisStore:
    """Implements `Store`. ``name`` keeps its keys apart from all others in the same server."""

    def __init__(self, redis: Redis, *, name: str) -> None:
        self._redis = redis
        self._name = name
        self._origin = uuid4().hex
        self._number = count()

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """One MGET."""
        return await self._redis.get_many([self._place("v", key) for key in keys])

    async def lease(self, keys: Sequence[str], seconds: float) -> Sequence[Lease]:
        """One script."""
        mine = f"{self._origin}{next(self._number)}"
        places = [self._place(what, key) for key in keys for what in "lb"]
        found = await self._redis.run(LEASE, places, [mine, _milliseconds(seconds)])
        tokens = [cast(bytes, token).decode() for token in found]
        return [Lease(token, new=token == mine) for token in tokens]

    async def change(self, changes: Sequence[Change]) -> Sequence[bool]:
        """One script."""
        places = [self._place(what, change.key) for change in changes for what in "vlb"]
        arguments = chain.from_iterable(_words(change) for change in changes)
        return [answer == 1 for answer in await self._redis.run(CHANGE, places, [*arguments])]

    def _place(self, what: str, key: str) -> str:
        if len(key) > _LONGEST_KEY:
            key = blake2b(key.encode(), digest_size=32).hexdigest()
        return f"{self._name}:{what}:{key}"


def _words(change: Change) -> tuple[Word, ...]:
    return (change.kind.value, change.token, _milliseconds(change.seconds), change.value)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
