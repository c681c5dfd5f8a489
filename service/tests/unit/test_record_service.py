"""The record service on the fake repository."""

from uuid import UUID

import pytest
from memory_records import MemoryRecords
from record_samples import DRAFT, MISSING, OTHER, plain

from myservice.domain.records import Record, RecordNotFound, StaleVersion
from myservice.service.records import RecordService
from paceline.errors import ValidationError, chain
from paceline.postgres import uuid7
from paceline.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def service(clock: ManualClock) -> RecordService:
    return RecordService(MemoryRecords(), clock, uuid7)


async def test_the_service_makes_id_version_and_times(
    service: RecordService, clock: ManualClock
) -> None:
    created = await service.create_record(DRAFT)
    assert created.id.version == 7
    assert created.version == 1
    assert created.created_at.timestamp() == created.updated_at.timestamp() == clock.time()
    assert plain(DRAFT).items() <= plain(created).items()

    clock.advance(60)
    replaced = await service.replace_record(created.id, OTHER, {1})
    assert (replaced.version, replaced.created_at) == (2, created.created_at)
    assert replaced.updated_at.timestamp() == clock.time()
    assert plain(await service.get_record(created.id)) == plain(replaced)


async def test_an_error_gets_the_name_of_the_method_and_keeps_its_type(
    service: RecordService,
) -> None:
    with pytest.raises(RecordNotFound) as caught:
        await service.get_record(MISSING)
    assert chain(caught.value) == f"service.get_record({MISSING}): record not found"


async def test_a_stale_version_is_refused(service: RecordService) -> None:
    created = await service.create_record(DRAFT)
    with pytest.raises(StaleVersion):
        await service.replace_record(created.id, OTHER, {2})
    with pytest.raises(StaleVersion):
        await service.delete_record(created.id, {2})
    await service.delete_record(created.id, {1})
    with pytest.raises(RecordNotFound):
        await service.get_record(created.id)


async def test_pages_hold_every_record_once(service: RecordService) -> None:
    made = [(await service.create_record(DRAFT)).id for _ in range(10)]
    seen: list[object] = []
    cursor = None
    for _ in range(4):
        page = await service.list_records(cursor, 3)
        seen += [each.id for each in page.records]
        cursor = page.next_cursor
    assert seen == made
    assert cursor is None


async def test_a_full_last_page_has_no_cursor(service: RecordService) -> None:
    for draft in (DRAFT, OTHER):
        await service.create_record(draft)
    assert (await service.list_records(None, 2)).next_cursor is None


class LargeRecords(MemoryRecords):
    """No page has more than two."""

    async def list_after(
        self,
        after: UUID | None,
        limit: int,
        prefix: str = "",  # paceline: only sample
    ) -> list[Record]:
        return await super().list_after(
            after,
            min(limit, 2),
            prefix,  # paceline: only sample
        )


async def test_a_page_that_large_records_make_short_has_a_cursor_unless_it_is_the_last(
    clock: ManualClock,
) -> None:
    service = RecordService(LargeRecords(), clock, uuid7)
    made = [(await service.create_record(DRAFT)).id for _ in range(4)]
    page = await service.list_records(None, 3)
    rest = await service.list_records(page.next_cursor, 3)
    assert [each.id for each in (*page.records, *rest.records)] == made
    assert rest.next_cursor is None


async def test_pages_are_stable_while_records_come_and_go(service: RecordService) -> None:
    first, second, third = [await service.create_record(DRAFT) for _ in range(3)]
    page = await service.list_records(None, 2)
    assert [each.id for each in page.records] == [first.id, second.id]
    await service.delete_record(second.id, None)
    late = await service.create_record(OTHER)
    rest = await service.list_records(page.next_cursor, 2)
    assert [each.id for each in rest.records] == [third.id, late.id]


async def test_a_cursor_that_was_not_given_out_is_refused(service: RecordService) -> None:
    with pytest.raises(ValidationError) as caught:
        await service.list_records("A" * 28, 2)
    assert caught.value.field == "cursor"
