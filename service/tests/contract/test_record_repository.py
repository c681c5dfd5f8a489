"""What any record repository must do: one suite for the fake and for real PostgreSQL."""

import asyncio
from datetime import timedelta

import msgspec  # paceline: only sample
import pytest
from memory_records import MemoryRecords
from record_samples import DRAFT, MISSING, NOW, OTHER, plain, record, revised

from myservice.domain.records import Record, RecordNotFound, StaleVersion
from myservice.repository.cached_records import CachedRecords  # paceline: only redis
from myservice.repository.records import PgRecords
from myservice.service.records import RecordRepository
from paceline.errors import AlreadyExists
from paceline.idempotency import IdempotencyKey, KeyReused


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.integration),
        pytest.param("cached", marks=pytest.mark.integration),  # paceline: only redis
    ]
)
def repository(request: pytest.FixtureRequest) -> RecordRepository:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryRecords()
    # paceline: only redis {
    if request.param == "cached":
        stored = PgRecords(request.getfixturevalue("pool"))
        return CachedRecords(stored, request.getfixturevalue("cache"))
    # paceline: }
    return PgRecords(request.getfixturevalue("pool"))


async def test_what_was_inserted_is_got_back(repository: RecordRepository) -> None:
    for draft in (DRAFT, OTHER):
        new = record(draft)
        assert plain(await repository.insert(new)) == plain(new)
        assert plain(await repository.get(new.id)) == plain(new)


async def test_an_id_is_taken_once(repository: RecordRepository) -> None:
    first = await repository.insert(record(DRAFT))
    with pytest.raises(AlreadyExists):
        await repository.insert(record(OTHER, first.id))
    assert plain(await repository.get(first.id)) == plain(first)


async def test_an_insertion_with_a_key_is_made_once_and_answered_alike(
    repository: RecordRepository,
) -> None:
    key = IdempotencyKey("ada", "k", b"1")
    first = await repository.insert(record(DRAFT), key)
    await repository.replace(first.id, OTHER, NOW, None)
    assert plain(await repository.insert(record(DRAFT), key)) == plain(first)
    with pytest.raises(KeyReused):
        await repository.insert(record(OTHER), IdempotencyKey("ada", "k", b"2"))
    other = await repository.insert(record(OTHER), IdempotencyKey("bob", "k", b"2"))
    assert [each.id for each in await repository.list_after(None, 9)] == [first.id, other.id]
    assert (await repository.get(first.id)).version == 2


async def test_what_is_not_there_is_not_found(repository: RecordRepository) -> None:
    with pytest.raises(RecordNotFound):
        await repository.get(MISSING)
    with pytest.raises(RecordNotFound):
        await repository.replace(MISSING, OTHER, NOW, None)
    with pytest.raises(RecordNotFound):
        await repository.delete(MISSING, {1})


async def test_a_replacement_keeps_id_and_creation_and_counts_the_version(
    repository: RecordRepository,
) -> None:
    old = await repository.insert(record(DRAFT))
    later = NOW + timedelta(hours=1)
    new = await repository.replace(old.id, OTHER, later, {1})
    assert plain(new) == plain(revised(old, OTHER, later))
    assert (new.version, new.created_at) == (2, NOW)
    assert plain(await repository.get(old.id)) == plain(new)


async def test_a_stale_change_changes_nothing(repository: RecordRepository) -> None:
    old = await repository.insert(record(DRAFT))
    second = await repository.replace(old.id, OTHER, NOW, {1})
    for stale in ({1}, {3}, set[int]()):
        with pytest.raises(StaleVersion):
            await repository.replace(old.id, DRAFT, NOW, stale)
        with pytest.raises(StaleVersion):
            await repository.delete(old.id, stale)
    assert plain(await repository.get(old.id)) == plain(second)
    assert (await repository.replace(old.id, DRAFT, NOW, None)).version == 3
    assert (await repository.replace(old.id, OTHER, NOW, {2, 3})).version == 4


async def test_of_many_replacements_of_one_version_one_wins(repository: RecordRepository) -> None:
    old = await repository.insert(record(DRAFT))
    attempts = [repository.replace(old.id, OTHER, NOW, {1}) for _ in range(10)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    won = [each for each in results if isinstance(each, Record)]
    assert len(won) == 1
    assert [type(each) for each in results if each is not won[0]] == [StaleVersion] * 9
    assert plain(await repository.get(old.id)) == plain(won[0])


async def test_what_was_deleted_is_gone(repository: RecordRepository) -> None:
    old = await repository.insert(record())
    await repository.delete(old.id, {1})
    with pytest.raises(RecordNotFound):
        await repository.get(old.id)


async def test_a_listing_is_ordered_by_id_and_begins_after_the_given_one(
    repository: RecordRepository,
) -> None:
    ids = [(await repository.insert(record())).id for _ in range(5)]
    assert [each.id for each in await repository.list_after(None, 3)] == ids[:3]
    assert [each.id for each in await repository.list_after(ids[2], 3)] == ids[3:]
    assert await repository.list_after(ids[4], 3) == []


async def test_of_many_at_once_each_hears_its_own(repository: RecordRepository) -> None:
    news = [record((DRAFT, OTHER)[number % 2]) for number in range(20)]
    taken = record(DRAFT, news[7].id)
    results = await asyncio.gather(
        *(repository.insert(new) for new in [*news, taken]), return_exceptions=True
    )
    assert [plain(each) for each in results if isinstance(each, Record)] == [
        plain(new) for new in news
    ]
    assert isinstance(results[-1], AlreadyExists)
    found = await asyncio.gather(
        *(repository.get(one) for one in [*(new.id for new in news), MISSING, news[0].id]),
        return_exceptions=True,
    )
    assert isinstance(found.pop(-2), RecordNotFound)
    assert [plain(each) for each in found if isinstance(each, Record)] == [
        plain(new) for new in [*news, news[0]]
    ]


async def test_changes_of_one_record_at_once_are_applied_one_after_the_other(
    repository: RecordRepository,
) -> None:
    new = await repository.insert(record(DRAFT))
    another = await repository.insert(record(DRAFT))
    later = NOW + timedelta(seconds=1)
    one, stale, two, elsewhere, missing, gone, after = await asyncio.gather(
        repository.replace(new.id, OTHER, later, {1}),
        repository.replace(new.id, DRAFT, later, {1}),
        repository.replace(new.id, DRAFT, later, {2}),
        repository.replace(another.id, OTHER, later, None),
        repository.delete(MISSING, None),
        repository.delete(new.id, {3}),
        repository.replace(new.id, OTHER, later, None),
        return_exceptions=True,
    )
    assert isinstance(one, Record)
    assert plain(one) == plain(revised(new, OTHER, later))
    assert isinstance(stale, StaleVersion)
    assert isinstance(two, Record)
    assert plain(two) == plain(revised(one, DRAFT, later))
    assert isinstance(elsewhere, Record)
    assert plain(await repository.get(another.id)) == plain(elsewhere)
    assert isinstance(missing, RecordNotFound)
    assert gone is None
    assert isinstance(after, RecordNotFound)
    with pytest.raises(RecordNotFound):
        await repository.get(new.id)


# paceline: only sample {
@pytest.mark.parametrize(
    "data",
    [
        "null",
        "0",
        '"text"',
        "[]",
        "{}",
        "true",
        "123456789012345678901234567890",
        "1e300",
        "-0.5",
        '{"\\u0000":1}',
    ],
)
async def test_any_json_value_is_kept(repository: RecordRepository, data: str) -> None:
    draft = msgspec.structs.replace(DRAFT, data=msgspec.Raw(data.encode()))
    new = await repository.insert(record(draft))
    assert msgspec.json.decode((await repository.get(new.id)).data) == msgspec.json.decode(data)


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("", ["ab", "abc", "a%", "a_", "é", "B"]),
        ("a", ["ab", "abc", "a%", "a_"]),
        ("ab", ["ab", "abc"]),
        ("a%", ["a%"]),
        ("a_", ["a_"]),
        ("\\", []),
        ("é", ["é"]),
        ("b", []),
    ],
)
async def test_a_prefix_means_just_these_characters(
    repository: RecordRepository, prefix: str, names: list[str]
) -> None:
    for name in ["ab", "abc", "a%", "a_", "é", "B"]:
        await repository.insert(record(msgspec.structs.replace(DRAFT, name=name)))
    assert [each.name for each in await repository.list_after(None, 10, prefix)] == names


# paceline: }
