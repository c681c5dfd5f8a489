"""Invalidations that could not be delivered: kept, retried, and their entries bypassed meanwhile.

Invariant: an entry whose invalidation failed is not read from the cache by this process until the
invalidation has been delivered, or until whatever was stored before it must have expired. Memory
is bounded: with too many pending at once, the whole cache is bypassed for that long. The task that
delivers them exists only while there are any.
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
    """To remove ``key`` and the block of the writer with ``token``; moot after ``expires_at``."""

    key: str
    token: str
    expires_at: float


class PendingInvalidations:
    """At most ``max_pending``, delivered again every ``retry_interval`` seconds.

    ``lifetime``: seconds after which an entry stored before must have expired. ``deliver`` raises
    `Error` when it cannot.

    *Resources*: one task while any are pending; `stop` ends it.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[PendingInvalidation]], Awaitable[object]],
        clock: Clock,
        *,
        lifetime: float,
        retry_interval: float,
        max_pending: int,
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        self._lifetime = lifetime
        self._retry_interval = retry_interval
        self._max_pending = max_pending
        self._pending: dict[str, PendingInvalidation] = {}  # the first to expire first
        self._bypass_all_until = -math.inf
        self._delivery: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many are pending."""
        return len(self._pending)

    def add(self, key: str, token: str) -> None:
        """Keep the invalidation of ``key`` until it is delivered."""
        expires_at = self._clock.monotonic() + self._lifetime
        self._pending.pop(key, None)
        if len(self._pending) >= self._max_pending:
            self._bypass_all_until = expires_at
            return
        self._pending[key] = PendingInvalidation(key, token, expires_at)
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.create_task(
                self._deliver_all(), name="deliver cache invalidations", context=Context()
            )

    def may_be_stale(self, key: str) -> bool:
        """Whether the stored entry of ``key`` may be older than an undelivered invalidation."""
        if not self._pending and self._bypass_all_until == -math.inf:
            return False
        if self._bypass_all_until > self._clock.monotonic():
            return True
        self._bypass_all_until = -math.inf
        return key in self._pending

    async def stop(self) -> None:
        """Drop what is pending: the entries expire by themselves."""
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.cancel()
            await asyncio.wait({delivery})
        self._pending.clear()

    async def _deliver_all(self) -> None:
        while self._pending:
            self._drop_expired()
            batch = [*islice(self._pending.values(), _BATCH)]
            try:
                await self._deliver(batch)
            except Error:
                await asyncio.sleep(self._retry_interval)
                continue
            for delivered in batch:
                if self._pending.get(delivered.key) is delivered:
                    del self._pending[delivered.key]

    def _drop_expired(self) -> None:
        now = self._clock.monotonic()
        while self._pending and (first := next(iter(self._pending.values()))).expires_at <= now:
            del self._pending[first.key]
