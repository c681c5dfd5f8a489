"""Importing a file of records: resumable, bounded, exactly once.

Invariant: a chunk's records, its rejects and the note that it is done are one transaction, so at
any moment, also after a ``kill -9``, each chunk is in or not in; the same command on the same file
goes on with what is missing. Lines are parsed in other processes while the chunk before them is
stored.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from myservice.domain.imports import Format, Import, Layout, Parsed, Reject, Tally
from myservice.service.chunks import chunks
from myservice.service.parsing import parse
from paceline.clock import Clock
from paceline.concurrency import process_pool
from paceline.errors import wrap


class ImportRepository(Protocol):
    """Where imports are kept."""

    async def begin(
        self,
        new: UUID,
        fingerprint: str,
        file_name: str,
        layout: Layout,
        at: datetime,
        *,
        again: bool,
    ) -> Import:
        """The import of this file that is not finished, or a new one. Errors: AlreadyImported."""
        ...

    async def store(
        self, import_id: UUID, parsed: Parsed, record_ids: list[UUID], at: datetime
    ) -> None:
        """Add a chunk, whole or not at all. Errors: ImportRunning when it is in already."""
        ...

    async def finish(self, import_id: UUID, at: datetime) -> None:
        """Note that all of it is in."""
        ...

    def rejects(self, import_id: UUID) -> AsyncIterator[Reject]:
        """What was rejected, by line."""
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
        """Find out how far this file has come. Errors: OSError, AlreadyImported."""
        with wrap("service.begin_import"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return await self._repository.begin(
                self._new_id(), f"{form}:{digest}", path.name, self._layout, self._now(),
                again=again,
            )  # fmt: skip

    async def run(self, begun: Import, path: Path, form: Format) -> AsyncGenerator[Tally]:
        """Import what is missing; a `Tally` after each chunk, the last one ``finished``.

        Errors: OSError, ImportRunning, ValidationError for a CSV file without a header.
        """
        tally = begun.tally
        with path.open("rb") as file:
            todo = (c for c in chunks(file, form, begun.layout) if c.number not in begun.done)
            async with process_pool(parse, todo, processes=self._processes) as results:
                async for result in results:
                    parsed = result.unwrap()
                    ids = [self._new_id() for _ in parsed.names]
                    await self._repository.store(begun.id, parsed, ids, self._now())
                    tally = msgspec.structs.replace(
                        tally,
                        lines=tally.lines + parsed.lines,
                        records=tally.records + len(parsed.names),
                        rejected=tally.rejected + len(parsed.rejects),
                        end=max(tally.end, parsed.end),
                    )
                    yield tally
        await self._repository.finish(begun.id, self._now())
        yield msgspec.structs.replace(tally, finished=True)

    def rejects(self, begun: Import) -> AsyncIterator[Reject]:
        """What was rejected so far, by line."""
        return self._repository.rejects(begun.id)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
