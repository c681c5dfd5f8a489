"""Records, the rules for their drafts, and their errors.

Invariant: a `Record` is immutable and its ``version`` grows by one with each replacement, so a
version names one content for ever; that is what optimistic concurrency compares. ``data`` is any
JSON value, kept as its text and never parsed on the way out. Limits that a schema can express are
in the types, so the OpenAPI document shows them; the rest is `check_draft`.
"""

from datetime import datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec

from paceline import errors
from paceline.errors import NotFound, ValidationError

MAX_DATA_BYTES: Final = 64 * 1024
MAX_DATA_DEPTH: Final = 32

# PostgreSQL's text cannot hold U+0000, and no API needs it.
_NO_NUL: Final = r"^[^\u0000]*$"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_NO_NUL)]
MetadataKey = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=_NO_NUL)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=1024, pattern=_NO_NUL)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=64)]


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

    name: Name
    metadata: Metadata = {}
    data: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


class Record(msgspec.Struct, frozen=True):
    """One record, as stored."""

    id: UUID
    name: str
    metadata: dict[str, str]
    data: msgspec.Raw
    version: int
    created_at: datetime
    updated_at: datetime


def check_draft(draft: RecordDraft) -> None:
    """The rules for ``data`` that the types cannot express. Errors: ValidationError."""
    text = bytes(draft.data)
    if len(text) > MAX_DATA_BYTES:
        raise ValidationError("data", f"must be at most {MAX_DATA_BYTES} bytes of JSON")
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValidationError("data", "has a number or a nesting that is out of range") from exc
    if text.count(b"[") + text.count(b"{") > MAX_DATA_DEPTH and _depth(value) > MAX_DATA_DEPTH:
        raise ValidationError("data", f"must be nested at most {MAX_DATA_DEPTH} levels deep")


def _depth(value: object) -> int:
    match value:
        case dict():
            children = list(cast(dict[str, object], value).values())
        case list():
            children = list(cast(list[object], value))
        case _:
            return 0
    return 1 + max(map(_depth, children), default=0)
