"""Records in a dictionary: the fake that unit tests use, held to the same contract as PostgreSQL."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec

from myservice.domain.records import Record, RecordDraft, RecordNotFound, StaleVersion
from paceline.errors import AlreadyExists
from paceline.idempotency import IdempotencyKey, KeyReused


class MemoryRecords:
    """Implements ``myservice.service.records.RecordRepository``."""

    def __init__(self) -> None:
        self._records: dict[UUID, Record] = {}
        self._keys: dict[tuple[str, str], tuple[bytes, Record]] = {}

    async def get(self, record_id: UUID) -> Record:
        record = self._records.get(record_id)
        if record is None:
            raise RecordNotFound
        return record

    async def list_after(
        self,
        after: UUID | None,
        limit: int,
        prefix: str = "",  # paceline: only sample
    ) -> list[Record]:
        found = sorted(self._records.values(), key=lambda record: record.id)
        # paceline: only sample {
        found = [record for record in found if record.name.startswith(prefix)]
        # paceline: }
        return [record for record in found if after is None or record.id > after][:limit]

    async def insert(self, record: Record, key: IdempotencyKey | None = None) -> Record:
        if key is not None and (first := self._keys.get((key.subject, key.text))):
            if first[0] != key.fingerprint:
                raise KeyReused
            return first[1]
        if record.id in self._records:
            raise AlreadyExists("this record exists already")
        self._records[record.id] = record
        if key is not None:
            self._keys[key.subject, key.text] = (key.fingerprint, record)
        return record

    async def replace(
        self, record_id: UUID, draft: RecordDraft, at: datetime, expected: Collection[int] | None
    ) -> Record:
        old = await self._checked(record_id, expected)
        written = msgspec.structs.asdict(draft)
        new = msgspec.structs.replace(old, **written, version=old.version + 1, updated_at=at)
        self._records[record_id] = new
        return new

    async def delete(self, record_id: UUID, expected: Collection[int] | None) -> None:
        await self._checked(record_id, expected)
        del self._records[record_id]

    async def _checked(self, record_id: UUID, expected: Collection[int] | None) -> Record:
        record = await self.get(record_id)
        if expected is not None and record.version not in expected:
            raise StaleVersion
        return record
