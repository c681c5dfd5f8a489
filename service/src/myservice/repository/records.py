"""Records in PostgreSQL: a versioned table whose every change adds a row to the log of changes.

Invariant: a change and its row in the log are committed together; see
``myservice.repository.record_changes``.
"""

from collections.abc import Callable, Sequence
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from myservice.domain.records import Record, RecordDraft, RecordNotFound, StaleVersion
from myservice.repository.record_changes import SETTLED
from paceline.coalesce import Observer
from paceline.postgres import Connection, Pool, ReadPolicy, TableChange, TableSchema, VersionedTable

RECORDS: Final = TableSchema(
    name="records",
    item=Record,
    draft=RecordDraft,
    not_found=RecordNotFound,
    stale=StaleVersion,
)
_COLUMNS: Final = "id, name, metadata, data, version, created_at, updated_at"
# The log's rows are inserted by the same statement: one round trip, and nothing is sent twice.
INSERT_RECORDS: Final[LiteralString] = f"""
    WITH new AS (
        INSERT INTO records ({_COLUMNS})
        SELECT * FROM unnest(
            $1::uuid[], $2::text[], $3::jsonb[], $4::json[],
            $5::bigint[], $6::timestamptz[], $7::timestamptz[]
        )
        RETURNING {_COLUMNS}
    )
    INSERT INTO record_changes (
        settled, kind, record_id, version, name, metadata, data, created_at, updated_at
    )
    SELECT ({SETTLED}), 'created', id, version, name, metadata, data, created_at, updated_at
    FROM new
"""
_LOG_CHANGES: Final[LiteralString] = f"""
    INSERT INTO record_changes (
        settled, kind, record_id, version, name, name_before, metadata, data, created_at, updated_at
    )
    SELECT ({SETTLED}), * FROM unnest(
        $1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[],
        $6::jsonb[], $7::json[], $8::timestamptz[], $9::timestamptz[]
    )
"""
_NAME_STARTS: Final = "starts_with(name, $3)"


class PgRecords(VersionedTable[Record, RecordDraft]):
    """The ``records`` table. ``on_commit`` is called after each commit that changed it.

    *Resources*: as of `VersionedTable`.
    """

    def __init__(
        self,
        pool: Pool,
        reads: ReadPolicy | None = None,
        *,
        on_commit: Callable[[], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(
            pool,
            RECORDS,
            reads,
            insert=INSERT_RECORDS,
            on_changes=_log_changes,
            remember=["name"],
            on_commit=on_commit,
            observer=observer,
        )

    async def list_after(self, after: UUID | None, prefix: str, limit: int) -> list[Record]:
        """Up to ``limit`` records whose name starts with ``prefix``, by id, after ``after``."""
        return await self.page(after, limit, _NAME_STARTS, prefix)


async def _log_changes(tx: Connection, changes: Sequence[TableChange[Record]]) -> None:
    records = [change.item for change in changes]
    before = [change.before["name"] for change in changes]
    names = [
        name if record is None else record.name
        for name, record in zip(before, records, strict=True)
    ]
    await tx.execute(
        _LOG_CHANGES,
        [change.kind for change in changes],
        [change.id for change in changes],
        [change.version for change in changes],
        names,
        [old if old != new else None for old, new in zip(before, names, strict=True)],
        [_json(record.metadata) if record else None for record in records],
        [_json(record.data) if record else None for record in records],
        [record.created_at if record else None for record in records],
        [record.updated_at if record else None for record in records],
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
