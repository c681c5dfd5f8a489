"""Where cached bytes are kept: the protocol that keeps stale values out, and Redis's side of it.

A reader that misses takes a *lease* before it fetches, and its fill is accepted only if that very
lease still exists. A writer *blocks* the entry before its change and *releases* it afterwards; both
remove the value and the lease, so nothing that was fetched before the change can be filled any
more. Rejected: version counters with a time to live, since one that was evicted or expired looks
like one that never changed; a lease that is lost only refuses a fill.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import chain, count
from typing import Protocol, cast
from uuid import uuid4

import msgspec

from paceline.redis.client import Redis
from paceline.redis.connection_pool import RedisArgument, namespaced
from paceline.redis.scripts import CHANGE, LEASE


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


class RedisStore:
    """Implements `CacheStore`. ``name`` separates its keys from all others in the same server."""

    def __init__(self, redis: Redis, *, name: str) -> None:
        self._redis = redis
        self._name = name
        self._process = uuid4().hex
        self._lease_numbers = count()

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """One MGET."""
        return await self._redis.get_many([self._key("v", key) for key in keys])

    async def lease(self, keys: Sequence[str], seconds: float) -> Sequence[Lease]:
        """One script."""
        new_token = f"{self._process}{next(self._lease_numbers)}"
        names = [self._key(part, key) for key in keys for part in "lb"]
        found = await self._redis.run(LEASE, names, [new_token, _milliseconds(seconds)])
        tokens = [cast(bytes, token).decode() for token in found]
        return [Lease(token, new=token == new_token) for token in tokens]

    async def change(self, changes: Sequence[EntryChange]) -> Sequence[bool]:
        """One script."""
        names = [self._key(part, change.key) for change in changes for part in "vlb"]
        arguments = chain.from_iterable(_arguments(change) for change in changes)
        return [done == 1 for done in await self._redis.run(CHANGE, names, [*arguments])]

    def _key(self, part: str, key: str) -> str:
        """The server's key of an entry's value, lease or block: ``part`` is its first letter."""
        return namespaced(f"{self._name}:{part}", key)


def _arguments(change: EntryChange) -> tuple[RedisArgument, ...]:
    return (change.kind.value, change.token, _milliseconds(change.seconds), change.value)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
