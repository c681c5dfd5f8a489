"""Records by id through a cache, in front of another repository.

Invariant, while the cache answers: a read that starts after a change was acknowledged never gives
an older record; `paceline.redis.CacheAside` explains how, and what holds while the cache does not
answer. Listings are not cached, because a change of any record may affect any page. An insertion
needs no block: only "there is none" can be cached of a new record, and for two seconds at most.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from myservice.domain.records import Record, RecordDraft
from myservice.service.records import RecordRepository
from paceline.idempotency import IdempotencyKey
from paceline.redis import CacheAside


class CachedRecords:
    """``records``, with a ``cache`` for `get`."""

    def __init__(self, records: RecordRepository, cache: CacheAside[Record]) -> None:
        self._records = records
        self._cache = cache

    async def get(self, record_id: UUID) -> Record:
        """One record. Errors: RecordNotFound."""
        return await self._cache.get_or_fetch(str(record_id), lambda: self._records.get(record_id))

    async def list_after(self, after: UUID | None, limit: int, prefix: str = "") -> list[Record]:
        """Up to ``limit`` records by id, after ``after``."""
        return await self._records.list_after(after, limit, prefix)

    async def insert(self, record: Record, key: IdempotencyKey | None = None) -> Record:
        """Add a record; the same key gives the same one. Errors: AlreadyExists, of keys."""
        inserted = await self._records.insert(record, key)
        await self._cache.invalidate(str(inserted.id))
        return inserted

    async def replace(
        self, record_id: UUID, draft: RecordDraft, at: datetime, expected: Collection[int] | None
    ) -> Record:
        """Replace the content, with the next version. Errors: RecordNotFound, StaleVersion."""
        async with self._cache.invalidating(str(record_id)):
            return await self._records.replace(record_id, draft, at, expected)

    async def delete(self, record_id: UUID, expected: Collection[int] | None) -> None:
        """Remove a record. Errors: RecordNotFound, StaleVersion."""
        async with self._cache.invalidating(str(record_id)):
            await self._records.delete(record_id, expected)
