"""The record service: create, read, list, replace, delete.

Invariant: ids (UUIDv7, so that they sort by time of creation), versions and times are made here; a
caller cannot choose them. Every method adds its name to the errors that pass through it, as Go's
wrapped errors do. The cursor of a listing is the last id that was seen, checked together with what
the listing is filtered by, so a record that exists throughout is listed exactly once.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from myservice.domain.records import Record, RecordDraft, check_draft, first_version
from paceline.clock import Clock
from paceline.cursor import CursorCodec
from paceline.errors import wrap
from paceline.idempotency import IdempotencyKey

_CURSORS: Final = CursorCodec(
    16, field="cursor", message="not a cursor of this listing: start again without one"
)


class RecordReader(Protocol):
    """Reads records."""

    async def get(self, record_id: UUID, /) -> Record:
        """One record. Errors: RecordNotFound."""
        ...

    async def list_after(
        self,
        after: UUID | None,
        limit: int,
        prefix: str = "",  # paceline: only sample
    ) -> list[Record]:
        """Up to ``limit`` records by id, after ``after``; fewer if they are large, or all."""
        ...


class RecordWriter(Protocol):
    """Writes records; each call takes effect whole or not at all."""

    async def insert(self, record: Record, key: IdempotencyKey | None = None, /) -> Record:
        """Add a record; the same key gives the first answer again.

        Errors: AlreadyExists; KeyReused, KeyInFlight.
        """
        ...

    async def replace(
        self, record_id: UUID, draft: RecordDraft, at: datetime, expected: Collection[int] | None, /
    ) -> Record:
        """Replace the content, with the next version. Errors: RecordNotFound, StaleVersion.

        ``expected``: the versions that may be replaced; None for any.
        """
        ...

    async def delete(self, record_id: UUID, expected: Collection[int] | None, /) -> None:
        """Remove a record. Errors: RecordNotFound, StaleVersion."""
        ...


class RecordRepository(RecordReader, RecordWriter, Protocol):
    """A repository that reads and writes."""


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records in order, and the cursor of the next page if there is one."""

    records: list[Record]
    next_cursor: str | None


class RecordService:
    """The use cases. ``new_id`` gives a fresh UUIDv7."""

    def __init__(
        self, repository: RecordRepository, clock: Clock, new_id: Callable[[], UUID]
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._new_id = new_id

    async def create_record(
        self, draft: RecordDraft, subject: str = "", key: str | None = None
    ) -> Record:
        """Create a record; once for each ``key`` of the ``subject``, if there is one.

        Errors: ValidationError, KeyReused, KeyInFlight.
        """
        with wrap("service.create_record"):
            check_draft(draft)
            record = first_version(self._new_id(), draft, self._now())
            return await self._repository.insert(
                record, IdempotencyKey.of(subject, key, ("record", draft))
            )

    async def get_record(self, record_id: UUID) -> Record:
        """Errors: RecordNotFound."""
        with wrap("service.get_record({})", record_id):
            return await self._repository.get(record_id)

    async def list_records(
        self,
        cursor: str | None,
        limit: int,
        prefix: str = "",  # paceline: only sample
    ) -> RecordPage:
        """A page in order of creation, which large records make shorter.

        Errors: ValidationError for a bad cursor.
        """
        with wrap("service.list_records"):
            after: UUID | None = None
            if cursor is not None:
                place = _CURSORS.decode(
                    cursor,
                    scope=prefix,  # paceline: only sample
                )
                after = UUID(bytes=place)

            async def read(after: UUID | None, limit: int) -> list[Record]:
                return await self._repository.list_after(
                    after,
                    limit,
                    prefix,  # paceline: only sample
                )

            found = await read(after, limit + 1)
            page = found[:limit]
            # A short page is the last one, or its records are large.
            if len(found) <= limit and not (found and await read(found[-1].id, 1)):
                return RecordPage(page, None)
            next_cursor = _CURSORS.encode(
                page[-1].id.bytes,
                scope=prefix,  # paceline: only sample
            )
            return RecordPage(page, next_cursor)

    async def replace_record(
        self, record_id: UUID, draft: RecordDraft, expected: Collection[int] | None
    ) -> Record:
        """Errors: RecordNotFound, StaleVersion, ValidationError."""
        with wrap("service.replace_record({})", record_id):
            check_draft(draft)
            return await self._repository.replace(record_id, draft, self._now(), expected)

    async def delete_record(self, record_id: UUID, expected: Collection[int] | None) -> None:
        """Errors: RecordNotFound, StaleVersion."""
        with wrap("service.delete_record({})", record_id):
            await self._repository.delete(record_id, expected)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
