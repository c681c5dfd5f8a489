"""A cache store in dictionaries: the fake for `paceline.redis.Store`, held to its contract."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import TypeVar

from paceline.clock import Clock
from paceline.errors import Code, Error
from paceline.redis import Change, Kind, Lease

T = TypeVar("T")


class Mood(Enum):
    UP = "answers"
    AWAY = "does nothing and says so"
    MUTE = "does it, and the answer is lost"


@dataclass
class MemoryStore:
    """Implements ``Store``; several caches over one are several replicas."""

    clock: Clock
    mood: Mood = Mood.UP
    values: dict[str, tuple[bytes, float]] = field(default_factory=dict[str, tuple[bytes, float]])
    leases: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    blocks: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    read_batches: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    _number: "count[int]" = field(default_factory=count)

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        self._answer()
        self.read_batches.append([*keys])
        return [self._alive(self.values, key) for key in keys]

    async def lease(self, keys: Sequence[str], seconds: float) -> Sequence[Lease]:
        if self.mood is Mood.AWAY:
            self._answer()
        leases = [self._lease(key, seconds) for key in keys]
        self._answer()
        return leases

    async def change(self, changes: Sequence[Change]) -> Sequence[bool]:
        if self.mood is Mood.AWAY:
            self._answer()
        done = [self._change(change) for change in changes]
        self._answer()
        return done

    def forget(self) -> None:
        """Lose everything, as a server that is restarted."""
        self.values.clear()
        self.leases.clear()
        self.blocks.clear()

    def _answer(self) -> None:
        if self.mood is not Mood.UP:
            raise Error(Code.UNAVAILABLE, "redis is not available")

    def _alive(self, found: dict[str, tuple[T, float]], key: str) -> T | None:
        if key in found and found[key][1] > self.clock.monotonic():
            return found[key][0]
        return None

    def _lease(self, key: str, seconds: float) -> Lease:
        now = self.clock.monotonic()
        if any(until > now for until in self.blocks.get(key, {}).values()):
            return Lease("")
        token = self._alive(self.leases, key)
        if token is not None:
            return Lease(token)
        token = f"lease-{next(self._number)}"
        self.leases[key] = (token, now + seconds)
        return Lease(token, new=True)

    def _change(self, change: Change) -> bool:
        now = self.clock.monotonic()
        key = change.key
        if change.kind is Kind.FILL:
            if self._alive(self.leases, key) != change.token:
                return False
            self.values[key] = (change.value, now + change.seconds)
            del self.leases[key]
            return True
        self.values.pop(key, None)
        self.leases.pop(key, None)
        writers = self.blocks.setdefault(key, {})
        if change.kind is Kind.BLOCK:
            writers[change.token] = now + change.seconds
        else:
            writers.pop(change.token, None)
        return True
