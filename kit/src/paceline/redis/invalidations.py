"""Releases that could not be delivered: kept, distrusted, and tried again until they are.

Invariant: an entry whose release failed is not read from the cache by this process until the
release has been delivered, or until nothing that was stored before can still be alive. Memory is
bounded: with too many debts at once no entry is trusted for that long. The task that settles them
exists only while there are any. Used by ``aside``, whose docstring says what others may see.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Final

import msgspec

from paceline.clock import Clock
from paceline.errors import Error

_BATCH: Final = 256


class PendingInvalidation(msgspec.Struct, frozen=True):
    """A release of ``key`` to deliver, of the writer with ``token``; it matters ``until``."""

    key: str
    token: str
    until: float


class PendingInvalidations:
    """At most ``most`` debts, tried every ``retry`` seconds; each matters for ``life`` seconds.

    ``deliver`` raises `Error` when it cannot.

    *Resources*: one task while there are debts; `stop` ends it.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[PendingInvalidation]], Awaitable[object]],
        clock: Clock,
        *,
        life: float,
        retry: float,
        most: int,
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        self._life = life
        self._retry = retry
        self._most = most
        self._owed: dict[str, PendingInvalidation] = {}  # the one that matters shortest first
        self._trust_nothing_until = -math.inf
        self._settling: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many entries are distrusted by name."""
        return len(self._owed)

    def owe(self, key: str, token: str) -> None:
        """Remember that ``key`` must be released."""
        until = self._clock.monotonic() + self._life
        self._owed.pop(key, None)
        if len(self._owed) >= self._most:
            self._trust_nothing_until = until
            return
        self._owed[key] = PendingInvalidation(key, token, until)
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(
                self._settle(), name="release cache entries", context=Context()
            )

    def distrusts(self, key: str) -> bool:
        """Whether what is stored for ``key`` may be stale for want of a release."""
        if not self._owed and self._trust_nothing_until == -math.inf:
            return False
        if self._trust_nothing_until > self._clock.monotonic():
            return True
        self._trust_nothing_until = -math.inf
        return key in self._owed

    async def stop(self) -> None:
        """Give up what is owed; it ages away."""
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.cancel()
            await asyncio.wait({settling})
        self._owed.clear()

    async def _settle(self) -> None:
        while self._owed:
            self._forget_the_old()
            batch = [*islice(self._owed.values(), _BATCH)]
            try:
                await self._deliver(batch)
            except Error:
                await asyncio.sleep(self._retry)
                continue
            for debt in batch:
                if self._owed.get(debt.key) is debt:
                    del self._owed[debt.key]

    def _forget_the_old(self) -> None:
        now = self._clock.monotonic()
        while self._owed and (debt := next(iter(self._owed.values()))).until <= now:
            del self._owed[debt.key]
