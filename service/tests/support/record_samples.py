"""What tests of records use: two drafts that differ in every field, and records made of them."""

# paceline: fields sample imports {
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

# paceline: }
from myservice.domain.records import Record, RecordDraft, first_version
from paceline.postgres import uuid7

NOW: Final = datetime(2026, 11, 23, 12, 30, 15, 123456, UTC)
MISSING: Final = UUID("0192f0a0-0000-7000-8000-00000000dead")
DRAFT: Final = RecordDraft(
    # paceline: fields sample {
    name="snow ☃ and 'quotes'",
    metadata={"colour": "blue", "ключ": "значение 🚲"},
    data=msgspec.Raw(b'{"a":[1,2.5,{"b":null}],"c":"\\u00e9\\n"}'),
    # paceline: }
)
OTHER: Final = RecordDraft(
    # paceline: fields other sample {
    name="other",
    # paceline: }
)
# paceline: fields wrong {
WRONG: Final[list[tuple[str, object]]] = [
    ("name", ""),
    ("name", "a\0"),
    ("name", "a" * 201),
    ("metadata", {"n": 1}),
]
# paceline: }
"""Fields, and values that they refuse."""


def record(draft: RecordDraft = DRAFT, record_id: UUID | None = None) -> Record:
    """A new record."""
    return first_version(record_id or uuid7(), draft, NOW)


def revised(old: Record, draft: RecordDraft, at: datetime) -> Record:
    """The next version of a record."""
    changes = msgspec.structs.asdict(draft)
    return msgspec.structs.replace(old, **changes, version=old.version + 1, updated_at=at)


def plain(value: Record | RecordDraft) -> dict[str, Any]:
    """As JSON, read: a store may write the same JSON differently."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return found
