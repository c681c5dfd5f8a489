"""The rules for a record's data, and the filter of its listing, through the service."""

import msgspec
import pytest
from memory_records import MemoryRecords

from myservice.domain.record_data import MAX_DATA_BYTES
from myservice.domain.records import RecordDraft
from myservice.service.records import RecordService
from paceline.errors import ValidationError
from paceline.postgres import uuid7
from paceline.testing import ManualClock


@pytest.fixture
def service() -> RecordService:
    return RecordService(MemoryRecords(), ManualClock(1_800_000_000.0), uuid7)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[" * 33 + "]" * 33, "at most 32 levels"),
        ('{"a":' * 33 + "1" + "}" * 33, "at most 32 levels"),
        ("[" * 50_000 + "]" * 50_000, f"at most {MAX_DATA_BYTES} bytes"),
        ("[" * 30_000 + "]" * 30_000, "out of range"),
        ("1e400", "out of range"),
        ("9" * 5_000, "out of range"),
        ('"' + "a" * MAX_DATA_BYTES + '"', f"at most {MAX_DATA_BYTES} bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_data_that_cannot_be_stored_is_refused(
    service: RecordService, data: str, message: str
) -> None:
    draft = RecordDraft("a", {}, msgspec.Raw(data.encode()))
    with pytest.raises(ValidationError) as caught:
        await service.create_record(draft)
    assert caught.value.field == "data"
    assert message in caught.value.message


@pytest.mark.parametrize(
    "data", ["[" * 32 + "]" * 32, '"\\u0000"', "[" + "[]," * 40 + "[]]", '"' + "[" * 40 + '"']
)
async def test_data_at_the_edge_of_a_rule_is_kept(service: RecordService, data: str) -> None:
    created = await service.create_record(RecordDraft("a", {}, msgspec.Raw(data.encode())))
    assert created.data == msgspec.Raw(data.encode())


async def test_a_cursor_belongs_to_one_filter(service: RecordService) -> None:
    for name in ("ab", "ac", "b"):
        await service.create_record(RecordDraft(name))
    page = await service.list_records(None, 1, "a")
    assert [record.name for record in page.records] == ["ab"]
    with pytest.raises(ValidationError):
        await service.list_records(page.next_cursor, 1, "b")
    rest = await service.list_records(page.next_cursor, 1, "a")
    assert [record.name for record in rest.records] == ["ac"]
    assert rest.next_cursor is None
