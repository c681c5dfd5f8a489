"""Cache aside: look in the cache, on a miss fetch and fill; a change removes what it changes.

What holds while Redis answers: a read that starts after a write was acknowledged never gives an
older value. Fills need a lease that every change takes away (``store``); reads in flight share a
fetch only under one lease, so a reader never joins a fetch that began before a change.
When Redis is away, reads go to the source and changes go ahead. Stale is then only what was stored
before a change of which neither the block nor the release arrived: never in the process that made
the change (``debts``), elsewhere until the release is delivered, at worst ``ttl`` + ``lease``
seconds after the change. Used by ``repository`` code; read ``store`` next.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import log as logarithm
from typing import Final, Generic, TypeVar
from uuid import uuid4

from paceline.clock import Clock
from paceline.coalesce import Observer, ReadCoalescer, WriteCoalescer
from paceline.concurrency import SingleFlight, expired, name_timeout
from paceline.errors import Code, Error, NotFound
from paceline.log import Logger
from paceline.redis.entry_codec import Entry, EntryCodec, Unreadable
from paceline.redis.invalidations import PendingInvalidation, PendingInvalidations
from paceline.redis.store import Change, Kind, Lease, Store
from paceline.stats import StatsEntry
from paceline.trace import carried

V = TypeVar("V")

# Codes that say that a change is over and was not made, so that nothing is left to wait for.
_OVER: Final = frozenset({
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION,
    Code.ABORTED,
    Code.OUT_OF_RANGE,
    Code.RESOURCE_EXHAUSTED,
})  # fmt: skip
_NO_LEAVE: Final = Lease("")


@dataclass(slots=True)
class CacheStats:
    """Reads so far: ``hits``, ``misses`` that fetched, those that ``coalesced`` with such a fetch.

    ``bypassed`` went to the source since the cache was away, blocked or not to be trusted;
    ``renewed`` entries were fetched again shortly before their end; ``unreadable`` ones were
    another release's, or damaged; ``refused`` fills came too late; ``owed``: releases of this
    moment that have not been delivered yet.
    """

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    bypassed: int = 0
    renewed: int = 0
    unreadable: int = 0
    refused: int = 0
    owed: int = 0


class CacheAside(Generic[V]):
    """Values of one ``type`` by key. They are shared between callers: treat them as immutable.

    Settings, times in seconds: ``ttl`` of a value, shortened by up to ``jitter`` of it so that what
    was filled together does not end together; ``negative``: the error that says "there is none",
    remembered for ``negative_ttl`` (None: never); ``lease``: the longest fetch that may still fill;
    ``hold``: longer than any change can take; ``beta``: how eagerly an entry that takes long to
    fetch is renewed before its end (XFetch: the expected lead is ``beta`` times the fetch), 0 for
    never; ``max_bytes``: larger values are not stored; ``max_owed``, ``retry``: see
    `PendingInvalidations`; ``observer``: watches the trips.

    *Resources*: tasks for the trips that are out and for what is owed; `stop` ends them.
    """

    def __init__(
        self,
        store: Store,
        log: Logger,
        clock: Clock,
        *,
        name: str,
        type: type[V],  # noqa: A002 - as in msgspec
        ttl: float,
        jitter: float = 0.1,
        negative: type[NotFound] | None = None,
        negative_ttl: float = 2.0,
        lease: float = 10.0,
        hold: float = 60.0,
        beta: float = 1.0,
        max_bytes: int = 256 * 1024,
        max_owed: int = 10_000,
        retry: float = 0.25,
        observer: Observer | None = None,
    ) -> None:
        if not (ttl > 0 and 0 <= jitter < 1 and negative_ttl > 0 and lease > 0 and hold > 0):
            raise ValueError("times must be above 0, jitter at least 0 and below 1")
        self.name = name
        self._store = store
        self._log = log
        self._clock = clock
        self._ttl = ttl
        self._jitter = jitter
        self._negative = negative
        self._negative_ttl = negative_ttl
        self._lease = lease
        self._hold = hold
        self._beta = beta
        self._max_bytes = max_bytes
        self._sealer = EntryCodec(type)
        self._stats = CacheStats()
        self._flight: SingleFlight[tuple[str, str], V] = SingleFlight()
        self._reads: ReadCoalescer[str, Entry[V] | None] = ReadCoalescer(
            self._read_all, name=f"reading cached {name}", max_in_flight=2, max_batch=128,
            observer=observer,
        )  # fmt: skip
        self._leases: ReadCoalescer[str, Lease] = ReadCoalescer(
            self._lease_all, name=f"leasing cached {name}", max_batch=128, observer=observer
        )
        self._changes: WriteCoalescer[Change, bool] = WriteCoalescer(
            store.change, name=f"changing cached {name}", max_in_flight=2, max_batch=64,
            observer=observer,
        )  # fmt: skip
        self._debts = PendingInvalidations(
            self._pay, clock, life=ttl + lease + hold, retry=retry, most=max_owed
        )

    @property
    def stats(self) -> CacheStats:
        """What it has done so far."""
        return replace(self._stats, owed=len(self._debts))

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: its own figures and those of its batches."""
        yield StatsEntry("caches", self.name, lambda: self.stats)
        for coalescer in (self._reads, self._leases, self._changes):
            yield from coalescer.stats_entries()

    async def start(self) -> None:
        """Let calls use the cache, also again after `stop`."""
        for coalescer in (self._reads, self._leases, self._changes):
            await coalescer.start()

    async def stop(self) -> None:
        """Wait for what is under way; calls go to the source from now on."""
        await asyncio.gather(self._reads.stop(), self._leases.stop(), self._changes.stop())
        await self._debts.stop()

    async def get_or_fetch(self, key: str, fetch: Callable[[], Awaitable[V]]) -> V:
        """The value of ``key``: from the cache, or from ``fetch``.

        Several callers may share one ``fetch``, which then runs in a task of its own and is
        cancelled when all of them have left. Errors: those of ``fetch``, and ``negative``; never
        the cache's.
        """
        found = await self._find(key)
        if isinstance(found, Lease):
            if not found.token:
                self._stats.bypassed += 1
                return await fetch()
            return await self._shared(key, found.token, fetch)
        if found.value is None:
            self._stats.hits += 1
            raise NotFound if self._negative is None else self._negative()
        if self._is_ending(found):
            return await self._renewed(key, found.value, fetch)
        self._stats.hits += 1
        return found.value

    @asynccontextmanager
    async def changing(self, key: str) -> AsyncGenerator[None]:
        """Surround a change of what is cached under ``key``.

        The entry is removed before and after, and is not filled in between. When the block fails in
        a way that leaves open whether the change is still being made (a cancellation, a lost
        connection), the entry stays unfilled for ``hold`` seconds, since it may yet be made.
        """
        token = uuid4().hex
        try:
            blocked = await self._change(Change(Kind.BLOCK, key, token, self._hold))
        except BaseException:
            self._debts.owe(key, token)  # nothing was changed, but the block may be in force
            raise
        try:
            yield
        except BaseException as exc:
            if isinstance(exc, Error) and exc.code in _OVER:
                await self._release(key, token)
            elif not blocked:
                self._debts.owe(key, token)
            raise
        await self._release(key, token)

    async def invalidate(self, key: str) -> None:
        """Remove what is cached under ``key``, after a change that `changing` did not surround.

        Enough where no change can be lost between its commit and this call; never raises because
        the cache is away.
        """
        await self._release(key, "")

    async def _find(self, key: str) -> Entry[V] | Lease:
        """What is cached, else leave to fill it; no leave when the cache is not to be used."""
        if self._debts.distrusts(key):
            return _NO_LEAVE
        try:
            entry = await self._reads.call(key)
            return entry if entry is not None else await self._leases.call(key)
        except Error:
            return _NO_LEAVE

    async def _release(self, key: str, token: str) -> None:
        delivered = False
        try:
            delivered = await self._change(Change(Kind.RELEASE, key, token), last=True)
        finally:
            if not delivered:
                self._debts.owe(key, token)

    async def _change(self, change: Change, *, last: bool = False) -> bool:
        """Whether it arrived, and for a fill, whether it was accepted.

        A coalescer tells of a deadline by an `Error`: not to be lost, unless nothing comes after.
        """
        try:
            return await self._changes.call(change)
        except Error:
            if expired() and not last:
                raise
            return False

    async def _shared(self, key: str, token: str, fetch: Callable[[], Awaitable[V]]) -> V:
        mine = False

        async def fetch_and_fill() -> V:
            nonlocal mine
            mine = True
            return await self._fetch_and_fill(key, token, fetch)

        try:
            return await self._flight.do((key, token), carried(fetch_and_fill))
        except asyncio.CancelledError:
            name_timeout(f"fetching {self.name}")
            raise
        finally:
            if mine:
                self._stats.misses += 1
            else:
                self._stats.coalesced += 1

    async def _fetch_and_fill(self, key: str, token: str, fetch: Callable[[], Awaitable[V]]) -> V:
        began = self._clock.monotonic()
        try:
            value = await fetch()
        except NotFound as exc:
            if self._negative is not None and isinstance(exc, self._negative):
                await self._fill(key, token, None, self._negative_ttl, 0.0)
            raise
        if value is not None:
            cost = self._clock.monotonic() - began
            await self._fill(key, token, value, self._ttl, cost)
        return value

    async def _fill(self, key: str, token: str, value: V | None, ttl: float, cost: float) -> None:
        ttl *= 1 - self._jitter * random.random()  # noqa: S311 - spreads load, guards nothing
        sealed = self._sealer.seal(Entry(value, self._clock.time() + ttl, cost))
        if len(sealed) > self._max_bytes:
            return
        if not await self._change(Change(Kind.FILL, key, token, ttl, sealed)):
            self._stats.refused += 1

    def _is_ending(self, entry: Entry[V]) -> bool:
        """XFetch (Vattani, Chierichetti, Lowenstein): likelier the nearer the end is."""
        left = entry.expires_at - self._clock.time()
        lead = -entry.cost * self._beta
        return left < 0 or (lead < 0 and left <= lead * logarithm(1 - random.random()))  # noqa: S311 - as above

    async def _renewed(self, key: str, old: V, fetch: Callable[[], Awaitable[V]]) -> V:
        """A fresh value, if it falls to this call to fetch it; else the old one is still good."""
        try:
            lease = await self._leases.call(key)
        except Error:
            lease = _NO_LEAVE
        if not lease.new:
            self._stats.hits += 1
            return old
        self._stats.renewed += 1
        try:
            return await self._flight.do(
                (key, lease.token),
                carried(lambda: self._fetch_and_fill(key, lease.token, fetch)),
            )
        except NotFound:
            await self.invalidate(key)  # it is gone, and nobody said so
            raise
        except Error:
            return old

    async def _read_all(self, keys: Sequence[str]) -> Mapping[str, Entry[V] | Exception | None]:
        found = await self._store.read(keys)
        return {key: self._opened(sealed) for key, sealed in zip(keys, found, strict=True)}

    def _opened(self, sealed: bytes | None) -> Entry[V] | None:
        if sealed is None:
            return None
        try:
            return self._sealer.open(sealed)
        except Unreadable as exc:
            if not self._stats.unreadable:
                self._log.warning("unreadable cache entry", cache=self.name, error=exc)
            self._stats.unreadable += 1
            return None

    async def _lease_all(self, keys: Sequence[str]) -> Mapping[str, Lease | Exception]:
        found = await self._store.lease(keys, self._lease)
        return dict(zip(keys, found, strict=True))

    async def _pay(self, debts: Sequence[PendingInvalidation]) -> None:
        await self._store.change([Change(Kind.RELEASE, debt.key, debt.token) for debt in debts])
