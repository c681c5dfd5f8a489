"""Redis's side of `CacheStore`: values, leases and blocks as keys, changed by scripts."""

from collections.abc import Sequence
from itertools import chain, count
from typing import cast
from uuid import uuid4

from paceline.redis.cache_store import EntryChange, Lease
from paceline.redis.client import Redis
from paceline.redis.connection_pool import RedisArgument, namespaced
from paceline.redis.scripts import CHANGE, LEASE


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
