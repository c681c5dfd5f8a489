"""Imports in PostgreSQL: a chunk is one transaction.

Invariant: a chunk is stored once. The primary key of ``import_chunks`` ensures it: when a second
process imports the same file, the later of two transactions is rolled back whole.
"""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from myservice.domain.imports import (
    AlreadyImported,
    Import,
    ImportRunning,
    Layout,
    NewImport,
    Parsed,
    Progress,
    Reject,
)
from myservice.repository.record_changes import INSERT_RECORDS
from paceline.errors import wrap
from paceline.postgres import DatabaseError, Pool

_FIND: Final[LiteralString] = """
    SELECT id, chunk_lines, chunk_bytes, finished_at FROM imports
    WHERE fingerprint = $1 ORDER BY finished_at DESC NULLS FIRST LIMIT 1
"""
_BEGIN: Final[LiteralString] = """
    INSERT INTO imports (id, fingerprint, file_name, chunk_lines, chunk_bytes, started_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
_DONE: Final[LiteralString] = """
    SELECT chunk, lines, records, rejected FROM import_chunks WHERE import_id = $1
"""
_CHUNK: Final[LiteralString] = """
    INSERT INTO import_chunks (import_id, chunk, lines, records, rejected)
    VALUES ($1, $2, $3, $4, $5)
"""
_REJECT: Final[LiteralString] = """
    INSERT INTO import_rejects (import_id, line, error, content)
    SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[])
"""
_FINISH: Final[LiteralString] = "UPDATE imports SET finished_at = $2 WHERE id = $1"
_REJECTS: Final[LiteralString] = """
    SELECT line, error, content FROM import_rejects
    WHERE import_id = $1 AND line > $2 ORDER BY line LIMIT 100
"""
_CHUNK_KEY: Final = "import_chunks_pkey"


class PgImports:
    """The tables ``imports``, ``import_chunks`` and ``import_rejects``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, new: NewImport, *, again: bool) -> Import:
        """The unfinished import of the same file, or ``new``. Errors: AlreadyImported."""
        with wrap("begin import of {}", new.file_name):
            found = await self._pool.fetch(_FIND, new.fingerprint)
            if not found or (found[0]["finished_at"] is not None and again):
                await self._pool.execute(
                    _BEGIN, new.id, new.fingerprint, new.file_name, new.layout.chunk_lines,
                    new.layout.chunk_bytes, new.at,
                )  # fmt: skip
                found = await self._pool.fetch(_FIND, new.fingerprint)
            row = found[0]
            if row["finished_at"] is not None:
                raise AlreadyImported
            done = await self._pool.fetch(_DONE, row["id"])
            lines, records, rejected = (
                sum(chunk[name] for chunk in done) for name in ("lines", "records", "rejected")
            )
            return Import(
                row["id"],
                Layout(row["chunk_lines"], row["chunk_bytes"]),
                frozenset(chunk["chunk"] for chunk in done),
                Progress(lines=lines, records=records, rejected=rejected, resumed=lines),
            )

    async def store(
        self, import_id: UUID, parsed: Parsed, record_ids: list[UUID], at: datetime
    ) -> None:
        """Add a chunk, whole or not at all. Errors: ImportRunning when it is stored already."""
        with wrap("store chunk {}", parsed.number):
            try:
                await self._store(import_id, parsed, record_ids, at)
            except DatabaseError as exc:
                if exc.constraint == _CHUNK_KEY:
                    raise ImportRunning from exc
                raise

    async def finish(self, import_id: UUID, at: datetime) -> None:
        """Mark the import as finished."""
        with wrap("finish import"):
            await self._pool.execute(_FINISH, import_id, at)

    async def rejects(self, import_id: UUID) -> AsyncGenerator[Reject]:
        """The rejected lines, in order."""
        last = 0
        while rows := await self._pool.fetch(_REJECTS, import_id, last):
            for row in rows:
                yield Reject(row["line"], row["error"], row["content"])
            last = rows[-1]["line"]

    async def _store(
        self, import_id: UUID, parsed: Parsed, record_ids: list[UUID], at: datetime
    ) -> None:
        count = len(record_ids)
        async with self._pool.transaction() as tx:
            await tx.execute(
                _CHUNK, import_id, parsed.number, parsed.lines, count, len(parsed.rejects)
            )
            if count:
                await tx.execute(
                    INSERT_RECORDS, record_ids, parsed.names, parsed.metadata, parsed.data,
                    [1] * count, [at] * count, [at] * count,
                )  # fmt: skip
            if parsed.rejects:
                await tx.execute(
                    _REJECT,
                    import_id,
                    [reject.line for reject in parsed.rejects],
                    [reject.error for reject in parsed.rejects],
                    [reject.content for reject in parsed.rejects],
                )
