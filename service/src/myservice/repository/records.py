"""Records in PostgreSQL: a versioned table, whose statements the kit makes of their fields."""

from collections.abc import Callable  # paceline: only full
from typing import Final
from uuid import UUID

from myservice.domain.records import Record, RecordDraft, RecordNotFound, StaleVersion
from myservice.repository.record_changes import INSERT_RECORDS, log_changes  # paceline: only full
from paceline.coalesce import Observer
from paceline.postgres import Pool, ReadPolicy, TableSchema, VersionedTable

RECORDS: Final = TableSchema(
    name="records",
    item=Record,
    draft=RecordDraft,
    not_found=RecordNotFound,
    stale=StaleVersion,
)
_NAME_STARTS: Final = "starts_with(name, $3)"  # paceline: only sample


class PgRecords(VersionedTable[Record, RecordDraft]):
    """The ``records`` table."""

    def __init__(
        self,
        pool: Pool,
        reads: ReadPolicy | None = None,
        *,
        on_commit: Callable[[], None] | None = None,  # paceline: only full
        observer: Observer | None = None,
    ) -> None:
        super().__init__(
            pool,
            RECORDS,
            reads,
            # paceline: only full {
            insert=INSERT_RECORDS,
            on_changes=log_changes,
            remember=["name"],
            on_commit=on_commit,
            # paceline: }
            observer=observer,
        )

    async def list_after(
        self,
        after: UUID | None,
        limit: int,
        prefix: str = "",  # paceline: only sample
    ) -> list[Record]:
        """Up to ``limit`` records by id, after ``after``."""
        # paceline: only sample {
        if prefix:
            return await self.page(after, limit, _NAME_STARTS, prefix)
        # paceline: }
        return await self.page(after, limit)
