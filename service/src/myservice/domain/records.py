"""Records, the rules for their drafts, and their errors.

Invariant: a `Record` is immutable and its ``version`` grows by one with each replacement, so a
version names one content for ever; that is what optimistic concurrency compares. Limits that a
schema can express are in the types, so the OpenAPI document shows them; the rest is `check_draft`.
"""

# paceline: fields imports {
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec

from myservice.domain.record_data import check_data

# paceline: }
from paceline import errors
from paceline.errors import NotFound

# paceline: fields types {
# PostgreSQL's text cannot hold U+0000, and no API needs it.
_NO_NUL: Final = r"^[^\u0000]*$"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_NO_NUL)]
MetadataKey = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=_NO_NUL)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=1024, pattern=_NO_NUL)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=64)]
# paceline: }


class RecordNotFound(NotFound):
    """There is no record with that id."""

    kind = "record-not-found"

    def __init__(self, message: str = "record not found") -> None:
        super().__init__(message)


class StaleVersion(errors.StaleVersion):
    """The record has changed since the caller read it; the caller has to read it again."""

    def __init__(self, message: str = "the record has changed since it was read") -> None:
        super().__init__(message)


class RecordDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a record that a caller writes."""

    # paceline: fields draft {
    name: Name
    metadata: Metadata = {}
    data: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    # paceline: }


class Record(msgspec.Struct, frozen=True):
    """One record, as stored."""

    id: UUID
    # paceline: fields item {
    name: str
    metadata: dict[str, str]
    data: msgspec.Raw
    # paceline: }
    version: int
    created_at: datetime
    updated_at: datetime


def first_version(record_id: UUID, draft: RecordDraft, at: datetime) -> Record:
    """The record that a draft becomes."""
    return Record(
        id=record_id,
        # paceline: fields made {
        name=draft.name,
        metadata=draft.metadata,
        data=draft.data,
        # paceline: }
        version=1,
        created_at=at,
        updated_at=at,
    )


def check_draft(draft: RecordDraft) -> None:
    """The rules that the types cannot express. Errors: ValidationError."""
    # paceline: fields rules {
    check_data(draft.data)
    # paceline: }
