"""Records in PostgreSQL.

Implements ``service.records.RecordRepository``. Columns are always listed by name, in one place,
so a new column changes nothing until somebody asks for it. A replacement or a deletion locks its
row first and then decides, so "not found" and "stale" can be told apart for certain. The schema is
``migrations/``; one contract suite runs against this and against the in-memory fake.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from myservice.domain.records import Record, RecordDraft, RecordNotFound, StaleVersion
from paceline.errors import AlreadyExists, wrap
from paceline.pg import Connection, DatabaseError, Pool, Row

_COLUMNS: Final = "id, name, metadata, data, version, created_at, updated_at"
_GET: Final[LiteralString] = f"SELECT {_COLUMNS} FROM records WHERE id = $1"
_LIST: Final[LiteralString] = f"""
    SELECT {_COLUMNS} FROM records
    WHERE ($1::uuid IS NULL OR id > $1) AND starts_with(name, $2)
    ORDER BY id LIMIT $3
"""
_INSERT: Final[LiteralString] = f"""
    INSERT INTO records ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING {_COLUMNS}
"""
_LOCK: Final[LiteralString] = "SELECT version FROM records WHERE id = $1 FOR UPDATE"
_REPLACE: Final[LiteralString] = f"""
    UPDATE records SET name = $2, metadata = $3, data = $4, version = version + 1, updated_at = $5
    WHERE id = $1
    RETURNING {_COLUMNS}
"""
_DELETE: Final[LiteralString] = "DELETE FROM records WHERE id = $1"
_PRIMARY_KEY: Final = "records_pkey"


class PgRecords:
    """Records in the ``records`` table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._encode = msgspec.json.Encoder().encode
        self._decode_metadata = msgspec.json.Decoder(dict[str, str]).decode

    async def get(self, record_id: UUID) -> Record:
        """One record. Errors: RecordNotFound."""
        with wrap("query record {}", record_id):
            row = await self._pool.fetchrow(_GET, record_id)
            if row is None:
                raise RecordNotFound
            return self._record(row)

    async def list_after(self, after: UUID | None, prefix: str, limit: int) -> list[Record]:
        """Up to ``limit`` records whose name starts with ``prefix``, by id, after ``after``."""
        with wrap("list records"):
            rows = await self._pool.fetch(_LIST, after, prefix, limit)
            return [self._record(row) for row in rows]

    async def insert(self, record: Record) -> Record:
        """Add a record. Errors: AlreadyExists."""
        with wrap("insert record {}", record.id):
            try:
                row = await self._pool.fetchrow(
                    _INSERT,
                    record.id,
                    record.name,
                    self._json(record.metadata),
                    self._json(record.data),
                    record.version,
                    record.created_at,
                    record.updated_at,
                )
            except DatabaseError as exc:
                if exc.constraint == _PRIMARY_KEY:
                    raise AlreadyExists("this record exists already") from exc
                raise
            return self._returned(row)

    async def replace(
        self, record_id: UUID, draft: RecordDraft, at: datetime, expected: Collection[int] | None
    ) -> Record:
        """Put a new content in place, one version up. Errors: RecordNotFound, StaleVersion."""
        with wrap("replace record {}", record_id):
            metadata, data = self._json(draft.metadata), self._json(draft.data)
            async with self._pool.transaction() as tx:
                await self._lock(tx, record_id, expected)
                row = await tx.fetchrow(_REPLACE, record_id, draft.name, metadata, data, at)
            return self._returned(row)

    async def delete(self, record_id: UUID, expected: Collection[int] | None) -> None:
        """Remove a record. Errors: RecordNotFound, StaleVersion."""
        with wrap("delete record {}", record_id):
            async with self._pool.transaction() as tx:
                await self._lock(tx, record_id, expected)
                await tx.execute(_DELETE, record_id)

    async def _lock(
        self, tx: Connection, record_id: UUID, expected: Collection[int] | None
    ) -> None:
        row = await tx.fetchrow(_LOCK, record_id)
        if row is None:
            raise RecordNotFound
        if expected is not None and row["version"] not in expected:
            raise StaleVersion

    def _json(self, value: object) -> str:
        return self._encode(value).decode()

    def _returned(self, row: Row | None) -> Record:
        if row is None:
            raise RuntimeError("RETURNING gave no row")
        return self._record(row)

    def _record(self, row: Row) -> Record:
        return Record(
            row["id"],
            row["name"],
            self._decode_metadata(row["metadata"]),
            msgspec.Raw(row["data"]),
            row["version"],
            row["created_at"],
            row["updated_at"],
        )
