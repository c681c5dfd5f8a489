"""A cache store in dictionaries: the fake `paceline.redis.CacheStore`, tested like the real one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import TypeVar

from paceline.clock import Clock
from paceline.errors import Code, Error
from paceline.redis import ChangeKind, EntryChange, Lease

T = TypeVar("T")


class Availability(Enum):
    UP = "answers"
    DOWN = "does nothing and raises"
    NO_REPLY = "does it and raises, as when the reply is lost"


@dataclass
class MemoryStore:
    """Implements ``CacheStore``; several caches over one are several replicas."""

    clock: Clock
    availability: Availability = Availability.UP
    values: dict[str, tuple[bytes, float]] = field(default_factory=dict[str, tuple[bytes, float]])
    leases: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    blocks: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    read_batches: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    _number: "count[int]" = field(default_factory=count)

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        await asyncio.sleep(0)  # a real one is waited for
        self._fail_unless_up()
        self.read_batches.append([*keys])
        return [self._unexpired(self.values, key) for key in keys]

    async def lease(self, keys: Sequence[str], seconds: float) -> Sequence[Lease]:
        await asyncio.sleep(0)  # a real one is waited for
        if self.availability is Availability.DOWN:
            self._fail_unless_up()
        leases = [self._lease(key, seconds) for key in keys]
        self._fail_unless_up()
        return leases

    async def change(self, changes: Sequence[EntryChange]) -> Sequence[bool]:
        if self.availability is Availability.DOWN:
            self._fail_unless_up()
        done = [self._change(change) for change in changes]
        self._fail_unless_up()
        return done

    def forget(self) -> None:
        """Lose everything, as a server that is restarted."""
        self.values.clear()
        self.leases.clear()
        self.blocks.clear()

    def _fail_unless_up(self) -> None:
        if self.availability is not Availability.UP:
            raise Error(Code.UNAVAILABLE, "redis is not available")

    def _unexpired(self, found: dict[str, tuple[T, float]], key: str) -> T | None:
        if key in found and found[key][1] > self.clock.monotonic():
            return found[key][0]
        return None

    def _lease(self, key: str, seconds: float) -> Lease:
        now = self.clock.monotonic()
        if any(until > now for until in self.blocks.get(key, {}).values()):
            return Lease("")
        token = self._unexpired(self.leases, key)
        if token is not None:
            return Lease(token)
        token = f"lease-{next(self._number)}"
        self.leases[key] = (token, now + seconds)
        return Lease(token, new=True)

    def _change(self, change: EntryChange) -> bool:
        now = self.clock.monotonic()
        key = change.key
        if change.kind is ChangeKind.FILL:
            if self._unexpired(self.leases, key) != change.token:
                return False
            self.values[key] = (change.value, now + change.seconds)
            del self.leases[key]
            return True
        self.values.pop(key, None)
        self.leases.pop(key, None)
        writers = self.blocks.setdefault(key, {})
        if change.kind is ChangeKind.BLOCK:
            writers[change.token] = now + change.seconds
        else:
            writers.pop(change.token, None)
        return True
