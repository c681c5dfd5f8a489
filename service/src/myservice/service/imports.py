"""Imports of records from a file: resumable, bounded in memory, exactly once.

Invariant: a chunk's records, its rejects and the row that marks it as done are one transaction, so
at any moment, also after a ``kill -9``, a chunk is stored whole or not at all; the same command on
the same file continues with the missing chunks. Lines are parsed in other processes while the chunk
before them is stored.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from myservice.domain.imports import (
    Format,
    Import,
    Layout,
    NewImport,
    Parsed,
    Progress,
    Reject,
    storable,
)
from myservice.service.import_chunks import read_chunks
from myservice.service.import_parsing import parse
from paceline.clock import Clock
from paceline.concurrency import process_pool
from paceline.errors import wrap


class ImportRepository(Protocol):
    """Stores imports."""

    async def begin(self, new: NewImport, *, again: bool) -> Import:
        """The unfinished import of the same file, or ``new``. Errors: AlreadyImported."""
        ...

    async def store(
        self, import_id: UUID, parsed: Parsed, record_ids: list[UUID], at: datetime
    ) -> None:
        """Add a chunk, whole or not at all. Errors: ImportRunning when it is stored already."""
        ...

    async def finish(self, import_id: UUID, at: datetime) -> None:
        """Mark the import as finished."""
        ...

    def rejects(self, import_id: UUID) -> AsyncIterator[Reject]:
        """The rejected lines, in order."""
        ...


class ImportService:
    """The use case. ``new_id`` gives a fresh UUIDv7; ``processes`` parse the lines."""

    def __init__(
        self,
        repository: ImportRepository,
        clock: Clock,
        new_id: Callable[[], UUID],
        *,
        processes: int = 1,
        layout: Layout | None = None,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._new_id = new_id
        self._processes = processes
        self._layout = layout or Layout()

    async def begin(self, path: Path, form: Format, *, again: bool = False) -> Import:
        """Begin or resume the import of a file. Errors: OSError, AlreadyImported."""
        with wrap("service.begin_import"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            new = NewImport(
                self._new_id(), f"{form}:{digest}", storable(path.name), self._layout, self._now()
            )
            return await self._repository.begin(new, again=again)

    async def run(self, begun: Import, path: Path, form: Format) -> AsyncGenerator[Progress]:
        """Import the missing chunks; gives the progress after each one, at last as ``finished``.

        The import stays open until `finish`, so the same command goes on until its rejects are
        written, too.

        Errors: OSError, ImportRunning, ValidationError for a CSV file without a header.
        """
        progress = begun.progress
        with path.open("rb") as file:
            missing = (
                c for c in read_chunks(file, form, begun.layout) if c.number not in begun.done
            )
            async with process_pool(parse, missing, processes=self._processes) as results:
                async for result in results:
                    parsed = result.unwrap()
                    ids = [self._new_id() for _ in parsed.names]
                    await self._repository.store(begun.id, parsed, ids, self._now())
                    progress = msgspec.structs.replace(
                        progress,
                        lines=progress.lines + parsed.lines,
                        records=progress.records + len(parsed.names),
                        rejected=progress.rejected + len(parsed.rejects),
                        end=max(progress.end, parsed.end),
                    )
                    yield progress
        yield msgspec.structs.replace(progress, finished=True)

    async def finish(self, begun: Import) -> None:
        """Close an import whose lines are in and whose rejects are written."""
        await self._repository.finish(begun.id, self._now())

    def rejects(self, begun: Import) -> AsyncIterator[Reject]:
        """The lines rejected so far, in order."""
        return self._repository.rejects(begun.id)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
