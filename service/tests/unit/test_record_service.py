"""The record service on the fake repository."""

from uuid import UUID

import msgspec
import pytest
from memory_records import MemoryRecords

from myservice.domain.records import MAX_DATA_BYTES, RecordDraft, RecordNotFound, StaleVersion
from myservice.service.records import RecordService
from paceline.errors import ValidationError, chain
from paceline.postgres import uuid7
from paceline.testing import ManualClock

MISSING = UUID("0192f0a0-0000-7000-8000-00000000dead")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def service(clock: ManualClock) -> RecordService:
    return RecordService(MemoryRecords(), clock, uuid7)


async def test_the_service_makes_id_version_and_times(
    service: RecordService, clock: ManualClock
) -> None:
    created = await service.create_record(RecordDraft("a"))
    assert created.id.version == 7
    assert created.version == 1
    assert created.created_at.timestamp() == created.updated_at.timestamp() == clock.time()

    clock.advance(60)
    replaced = await service.replace_record(created.id, RecordDraft("b"), {1})
    assert (replaced.version, replaced.created_at) == (2, created.created_at)
    assert replaced.updated_at.timestamp() == clock.time()


async def test_an_error_gets_the_name_of_the_method_and_keeps_its_type(
    service: RecordService,
) -> None:
    with pytest.raises(RecordNotFound) as caught:
        await service.get_record(MISSING)
    assert chain(caught.value) == f"service.get_record({MISSING}): record not found"


async def test_a_stale_version_is_refused(service: RecordService) -> None:
    created = await service.create_record(RecordDraft("a"))
    with pytest.raises(StaleVersion):
        await service.replace_record(created.id, RecordDraft("b"), {2})
    with pytest.raises(StaleVersion):
        await service.delete_record(created.id, {2})
    await service.delete_record(created.id, {1})
    with pytest.raises(RecordNotFound):
        await service.get_record(created.id)


async def test_pages_hold_every_record_once(service: RecordService) -> None:
    names = [f"{n:02}" for n in range(10)]
    for name in names:
        await service.create_record(RecordDraft(name))
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page = await service.list_records("", cursor, 3)
        seen += [record.name for record in page.records]
        cursor = page.next_cursor
    assert seen == names
    assert cursor is None


async def test_a_full_last_page_has_no_cursor(service: RecordService) -> None:
    for name in "ab":
        await service.create_record(RecordDraft(name))
    assert (await service.list_records("", None, 2)).next_cursor is None


async def test_pages_are_stable_while_records_come_and_go(service: RecordService) -> None:
    first, second, third = [await service.create_record(RecordDraft(n)) for n in "abc"]
    page = await service.list_records("", None, 2)
    assert [r.id for r in page.records] == [first.id, second.id]
    await service.delete_record(second.id, None)
    late = await service.create_record(RecordDraft("late"))
    rest = await service.list_records("", page.next_cursor, 2)
    assert [r.id for r in rest.records] == [third.id, late.id]


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
