"""Cache aside: read the cache, on a miss fetch and fill it; a change invalidates what it changes.

Invariant while Redis is available: a read that starts after a write was acknowledged never returns
an older value. Fills need a lease that every change revokes (``store``); reads in flight share a
fetch only under the same lease, so a reader never joins a fetch that began before a change.
While Redis is unavailable, reads go to the source and changes proceed. A stale value is then only
possible where it was stored before a change of which neither the block nor the release arrived:
never in the process that made the change (``invalidations``), elsewhere until the release is
delivered, at worst ``ttl`` + ``lease_ttl`` seconds after the change.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import log as logarithm
from typing import Final, Generic, TypeVar
from uuid import uuid4

from paceline._ranges import check_ranges
from paceline.clock import Clock
from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer
from paceline.concurrency import SingleFlight, expired, name_timeout
from paceline.errors import Code, Error, NotFound
from paceline.log import Logger
from paceline.redis.cache_store import CacheStore, ChangeKind, EntryChange, Lease
from paceline.redis.entry_codec import Entry, EntryCodec, UnreadableEntry
from paceline.redis.invalidations import PendingInvalidation, PendingInvalidations
from paceline.stats import StatsEntry
from paceline.trace import in_current_trace

V = TypeVar("V")

# Codes of a change that has ended and was not made, so that its block can be released at once.
_NOT_MADE: Final = frozenset({
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
    Code.OUT_OF_RANGE,
    Code.RESOURCE_EXHAUSTED,
})  # fmt: skip
_NO_LEASE: Final = Lease("")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Times in seconds, sizes in bytes. Errors: ``ValueError`` for a value out of range."""

    ttl: float
    """How long a value may be served."""
    jitter: float = 0.1
    """The part of ``ttl`` by which it is shortened at random, 0 to 1, so that what was filled
    together does not expire together."""
    negative_ttl: float = 2.0
    """How long it is remembered that there is no value."""
    lease_ttl: float = 10.0
    """The longest fetch whose value is still stored."""
    block_ttl: float = 60.0
    """Longer than any change can take: how long a change whose outcome is unknown blocks fills."""
    beta: float = 1.0
    """How early an entry that takes long to fetch is refreshed before it expires (XFetch: on
    average ``beta`` times the fetch's duration); 0 for never."""
    max_value_bytes: int = 256 * 1024
    """Larger values are not stored."""
    max_pending_invalidations: int = 10_000
    """Beyond so many undelivered invalidations the cache is bypassed for all keys."""
    retry_interval: float = 0.25
    """Between attempts to deliver an invalidation."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_ranges(
            self,
            positive=("ttl", "negative_ttl", "lease_ttl", "block_ttl", "retry_interval"),
            not_negative=("beta", "max_value_bytes", "max_pending_invalidations"),
        )
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and below 1, not {self.jitter}")


@dataclass(slots=True)
class CacheStats:
    """Reads so far: ``hits``, ``misses`` that fetched, those that ``coalesced`` with such a fetch.

    ``bypassed``: went to the source, since the cache was unavailable, the entry blocked or possibly
    stale. ``refreshed``: entries fetched again shortly before they expired. ``unreadable``: entries
    of another release, or damaged. ``fills_refused``: fetched before a change, stored too late.
    ``pending_invalidations``: not delivered to the server yet.
    """

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    bypassed: int = 0
    refreshed: int = 0
    unreadable: int = 0
    fills_refused: int = 0
    pending_invalidations: int = 0


class CacheAside(Generic[V]):
    """Values of one ``type`` by key. They are shared between callers: treat them as immutable.

    ``name`` tells this cache's metrics from those of others. ``negative``: the error that means
    "there is none", to be remembered for ``negative_ttl``; None: never remembered. ``observer``:
    of the batches.

        cache = CacheAside(RedisStore(redis, name="users"), log, clock, name="users", type=User,
                           settings=CacheSettings(ttl=60))
        user = await cache.get_or_fetch(key, lambda: load(key))
        async with cache.invalidating(key):
            await save(user)

    *Resources*: tasks for the batches that are running and for pending invalidations; `stop` ends
    them.
    """

    def __init__(
        self,
        store: CacheStore,
        log: Logger,
        clock: Clock,
        *,
        name: str,
        type: type[V],  # noqa: A002 - as in msgspec
        settings: CacheSettings,
        negative: type[NotFound] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._log = log
        self._clock = clock
        self._settings = settings
        self._negative = negative
        self._codec = EntryCodec(type)
        self._stats = CacheStats()
        self._fetches: SingleFlight[tuple[str, str], V] = SingleFlight()
        self._reads: ReadCoalescer[str, Entry[V] | None] = ReadCoalescer(
            self._read_all, name=f"reading cached {name}", max_in_flight=2, max_batch=128,
            observer=observer,
        )  # fmt: skip
        self._leases: ReadCoalescer[str, Lease] = ReadCoalescer(
            self._lease_all, name=f"leasing cached {name}", max_batch=128, observer=observer
        )
        self._changes: WriteCoalescer[EntryChange, bool] = WriteCoalescer(
            store.change, name=f"changing cached {name}", max_in_flight=2, max_batch=64,
            observer=observer,
        )  # fmt: skip
        self._pending = PendingInvalidations(
            self._deliver,
            clock,
            lifetime=settings.ttl + settings.lease_ttl + settings.block_ttl,
            retry_interval=settings.retry_interval,
            max_pending=settings.max_pending_invalidations,
        )

    @property
    def stats(self) -> CacheStats:
        """Counts so far; a copy."""
        return replace(self._stats, pending_invalidations=len(self._pending))

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: its own statistics and those of its batches."""
        yield StatsEntry("caches", self.name, lambda: self.stats)
        for coalescer in (self._reads, self._leases, self._changes):
            yield from coalescer.stats_entries()

    async def start(self) -> None:
        """Use the cache from now on, also again after `stop`."""
        for coalescer in (self._reads, self._leases, self._changes):
            await coalescer.start()

    async def stop(self) -> None:
        """Wait for the batches in progress; calls go to the source from now on."""
        await asyncio.gather(self._reads.stop(), self._leases.stop(), self._changes.stop())
        await self._pending.stop()

    async def get_or_fetch(self, key: str, fetch: Callable[[], Awaitable[V]]) -> V:
        """The value of ``key``: from the cache, or from ``fetch``.

        Several callers may share one ``fetch``, which then runs in a task of its own and is
        cancelled when all of them have been. Errors: those of ``fetch``, and ``negative``; never
        the cache's.
        """
        found = await self._find(key)
        if isinstance(found, Lease):
            if not found.token:
                self._stats.bypassed += 1
                return await fetch()
            return await self._shared_fetch(key, found.token, fetch)
        if found.value is None:
            self._stats.hits += 1
            raise NotFound if self._negative is None else self._negative()
        if self._is_due_for_refresh(found):
            return await self._refreshed(key, found.value, fetch)
        self._stats.hits += 1
        return found.value

    @asynccontextmanager
    async def invalidating(self, key: str) -> AsyncGenerator[None]:
        """Surround a change of what is cached under ``key``.

        The entry is removed before and after, and is not filled in between. When the block fails in
        a way that leaves open whether the change is still being made (a cancellation, a lost
        connection), the entry stays unfilled for ``block_ttl`` seconds, since it may yet be made.
        """
        token = uuid4().hex
        try:
            block = EntryChange(ChangeKind.BLOCK, key, token, self._settings.block_ttl)
            blocked = await self._change(block)
        except BaseException:
            self._pending.add(key, token)  # nothing was changed, but the block may be in force
            raise
        try:
            yield
        except BaseException as exc:
            if isinstance(exc, Error) and exc.code in _NOT_MADE:
                await self._release(key, token)
            elif not blocked:
                self._pending.add(key, token)
            raise
        await self._release(key, token)

    async def invalidate(self, key: str) -> None:
        """Remove what is cached under ``key``, after a change that `invalidating` did not surround.

        Enough where no change can be lost between its commit and this call; never raises because
        the cache is unavailable.
        """
        await self._release(key, "")

    async def _find(self, key: str) -> Entry[V] | Lease:
        """The entry, else a lease to fill it; `_NO_LEASE` when the cache is not to be used."""
        if self._pending.may_be_stale(key):
            return _NO_LEASE
        try:
            entry = await self._reads.call(key)
            return entry if entry is not None else await self._leases.call(key)
        except Error:
            return _NO_LEASE

    async def _release(self, key: str, token: str) -> None:
        delivered = False
        try:
            delivered = await self._change(EntryChange(ChangeKind.RELEASE, key, token), last=True)
        finally:
            if not delivered:
                self._pending.add(key, token)

    async def _change(self, change: EntryChange, *, last: bool = False) -> bool:
        """Whether it was applied. An expired deadline is raised, unless this is the ``last`` step.

        A coalescer reports a deadline as an `Error`, like an unavailable store.
        """
        try:
            return await self._changes.call(change)
        except Error:
            if expired() and not last:
                raise
            return False

    async def _shared_fetch(self, key: str, token: str, fetch: Callable[[], Awaitable[V]]) -> V:
        ran = False

        async def fetch_and_fill() -> V:
            nonlocal ran
            ran = True
            return await self._fetch_and_fill(key, token, fetch)

        try:
            return await self._fetches.do((key, token), in_current_trace(fetch_and_fill))
        except asyncio.CancelledError:
            name_timeout(f"fetching {self.name}")
            raise
        finally:
            if ran:
                self._stats.misses += 1
            else:
                self._stats.coalesced += 1

    async def _fetch_and_fill(self, key: str, token: str, fetch: Callable[[], Awaitable[V]]) -> V:
        began = self._clock.monotonic()
        try:
            value = await fetch()
        except NotFound as exc:
            if self._negative is not None and isinstance(exc, self._negative):
                await self._fill(key, token, None, self._settings.negative_ttl, 0.0)
            raise
        if value is not None:
            cost = self._clock.monotonic() - began
            await self._fill(key, token, value, self._settings.ttl, cost)
        return value

    async def _fill(self, key: str, token: str, value: V | None, ttl: float, cost: float) -> None:
        ttl *= 1 - self._settings.jitter * random.random()  # noqa: S311 - spreads load, no secret
        data = self._codec.encode(Entry(value, self._clock.time() + ttl, cost))
        if len(data) > self._settings.max_value_bytes:
            return
        if not await self._change(EntryChange(ChangeKind.FILL, key, token, ttl, data)):
            self._stats.fills_refused += 1

    def _is_due_for_refresh(self, entry: Entry[V]) -> bool:
        """XFetch (Vattani, Chierichetti, Lowenstein): likelier the nearer its end is."""
        left = entry.expires_at - self._clock.time()
        lead = -entry.cost * self._settings.beta
        return left < 0 or (lead < 0 and left <= lead * logarithm(1 - random.random()))  # noqa: S311 - as above

    async def _refreshed(self, key: str, old: V, fetch: Callable[[], Awaitable[V]]) -> V:
        """A fresh value if this call is the one to fetch it, else the old one, still valid."""
        try:
            lease = await self._leases.call(key)
        except Error:
            lease = _NO_LEASE
        if not lease.new:
            self._stats.hits += 1
            return old
        self._stats.refreshed += 1
        try:
            return await self._fetches.do(
                (key, lease.token),
                in_current_trace(lambda: self._fetch_and_fill(key, lease.token, fetch)),
            )
        except NotFound:
            await self.invalidate(key)  # it was removed without an invalidation
            raise
        except Error:
            return old

    async def _read_all(self, keys: Sequence[str]) -> Mapping[str, Entry[V] | Exception | None]:
        found = await self._store.read(keys)
        return {key: self._decoded(data) for key, data in zip(keys, found, strict=True)}

    def _decoded(self, data: bytes | None) -> Entry[V] | None:
        if data is None:
            return None
        try:
            return self._codec.decode(data)
        except UnreadableEntry as exc:
            if not self._stats.unreadable:
                self._log.warning("unreadable cache entry", cache=self.name, error=exc)
            self._stats.unreadable += 1
            return None

    async def _lease_all(self, keys: Sequence[str]) -> Mapping[str, Lease | Exception]:
        found = await self._store.lease(keys, self._settings.lease_ttl)
        return dict(zip(keys, found, strict=True))

    async def _deliver(self, pending: Sequence[PendingInvalidation]) -> None:
        await self._store.change(
            [EntryChange(ChangeKind.RELEASE, each.key, each.token) for each in pending]
        )
