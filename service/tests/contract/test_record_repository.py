"""What any record repository must do: one suite for the fake and for real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from myservice.domain.records import Record, RecordDraft, RecordNotFound, StaleVersion
from myservice.service.records import RecordRepository
from paceline.errors import AlreadyExists
from paceline.postgres import uuid7

NOW = datetime(2026, 11, 23, 12, 30, 15, 123456, UTC)
MISSING = UUID("0192f0a0-0000-7000-8000-00000000dead")


def record(name: str = "a", *, data: str = "null", record_id: UUID | None = None) -> Record:
    metadata = {"colour": "blue", "ключ": "значение 🚲"}
    return Record(record_id or uuid7(), name, metadata, msgspec.Raw(data.encode()), 1, NOW, NOW)


def plain(found: Record) -> object:
    """A record with its JSON read, for a store may write the same JSON differently."""
    return msgspec.json.decode(msgspec.json.encode(found))


async def test_what_was_inserted_is_got_back(repository: RecordRepository) -> None:
    new = record("snow ☃ and 'quotes'", data='{"a":[1,2.5,{"b":null}],"c":"\\u00e9\\n"}')
    assert plain(await repository.insert(new)) == plain(new)
    assert plain(await repository.get(new.id)) == plain(new)


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
    new = await repository.insert(record(data=data))
    assert msgspec.json.decode((await repository.get(new.id)).data) == msgspec.json.decode(data)


async def test_an_id_is_taken_once(repository: RecordRepository) -> None:
    first = await repository.insert(record("first"))
    with pytest.raises(AlreadyExists):
        await repository.insert(record("second", record_id=first.id))
    assert (await repository.get(first.id)).name == "first"


async def test_what_is_not_there_is_not_found(repository: RecordRepository) -> None:
    with pytest.raises(RecordNotFound):
        await repository.get(MISSING)
    with pytest.raises(RecordNotFound):
        await repository.replace(MISSING, RecordDraft("b"), NOW, None)
    with pytest.raises(RecordNotFound):
        await repository.delete(MISSING, {1})


async def test_a_replacement_keeps_id_and_creation_and_counts_the_version(
    repository: RecordRepository,
) -> None:
    old = await repository.insert(record("old"))
    later = NOW + timedelta(hours=1)
    draft = RecordDraft("new", {"k": "v"}, msgspec.Raw(b"[1]"))
    new = await repository.replace(old.id, draft, later, {1})
    assert plain(new) == plain(
        Record(old.id, "new", {"k": "v"}, msgspec.Raw(b"[1]"), 2, NOW, later)
    )
    assert plain(await repository.get(old.id)) == plain(new)


async def test_a_stale_replacement_changes_nothing(repository: RecordRepository) -> None:
    old = await repository.insert(record("old"))
    await repository.replace(old.id, RecordDraft("second"), NOW, {1})
    for stale in ({1}, {3}, set[int]()):
        with pytest.raises(StaleVersion):
            await repository.replace(old.id, RecordDraft("third"), NOW, stale)
        with pytest.raises(StaleVersion):
            await repository.delete(old.id, stale)
    assert (await repository.get(old.id)).name == "second"
    assert (await repository.replace(old.id, RecordDraft("any"), NOW, None)).version == 3
    assert (await repository.replace(old.id, RecordDraft("either"), NOW, {2, 3})).version == 4


async def test_of_many_replacements_of_one_version_one_wins(repository: RecordRepository) -> None:
    old = await repository.insert(record("old"))
    attempts = [repository.replace(old.id, RecordDraft(f"{n}"), NOW, {1}) for n in range(10)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    won = [r for r in results if isinstance(r, Record)]
    assert len(won) == 1
    assert [type(r) for r in results if r is not won[0]] == [StaleVersion] * 9
    assert plain(await repository.get(old.id)) == plain(won[0])


async def test_what_was_deleted_is_gone(repository: RecordRepository) -> None:
    old = await repository.insert(record())
    await repository.delete(old.id, {1})
    with pytest.raises(RecordNotFound):
        await repository.get(old.id)


async def test_a_listing_is_ordered_by_id_and_begins_after_the_given_one(
    repository: RecordRepository,
) -> None:
    records = [await repository.insert(record(f"{n}")) for n in range(5)]
    names = [r.name for r in await repository.list_after(None, "", 3)]
    assert names == ["0", "1", "2"]
    rest = await repository.list_after(records[2].id, "", 3)
    assert [r.name for r in rest] == ["3", "4"]
    assert await repository.list_after(records[4].id, "", 3) == []


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
        await repository.insert(record(name))
    assert [r.name for r in await repository.list_after(None, prefix, 10)] == names


async def test_of_many_at_once_each_hears_its_own(repository: RecordRepository) -> None:
    news = [record(f"r{n}") for n in range(20)]
    taken = record("taken", record_id=news[7].id)
    results = await asyncio.gather(
        *(repository.insert(new) for new in [*news, taken]), return_exceptions=True
    )
    assert [plain(r) for r in results if isinstance(r, Record)] == [plain(new) for new in news]
    assert isinstance(results[-1], AlreadyExists)
    found = await asyncio.gather(
        *(repository.get(one) for one in [*(new.id for new in news), MISSING, news[0].id]),
        return_exceptions=True,
    )
    assert isinstance(found.pop(-2), RecordNotFound)
    assert [plain(r) for r in found if isinstance(r, Record)] == [
        plain(new) for new in [*news, news[0]]
    ]


async def test_changes_of_one_record_at_once_are_applied_one_after_the_other(
    repository: RecordRepository,
) -> None:
    new = await repository.insert(record())
    other = await repository.insert(record("other"))
    later = NOW + timedelta(seconds=1)

    async def replace(name: str, expected: set[int] | None) -> Record:
        return await repository.replace(new.id, RecordDraft(name), later, expected)

    one, stale, two, elsewhere, missing, gone, after = await asyncio.gather(
        replace("one", {1}),
        replace("stale", {1}),
        replace("two", {2}),
        repository.replace(other.id, RecordDraft("changed"), later, None),
        repository.delete(MISSING, None),
        repository.delete(new.id, {3}),
        replace("after", None),
        return_exceptions=True,
    )
    assert isinstance(one, Record)
    assert (one.name, one.version, one.created_at, one.updated_at) == ("one", 2, NOW, later)
    assert isinstance(stale, StaleVersion)
    assert isinstance(two, Record)
    assert (two.name, two.version) == ("two", 3)
    assert isinstance(elsewhere, Record)
    assert plain(await repository.get(other.id)) == plain(elsewhere)
    assert isinstance(missing, RecordNotFound)
    assert gone is None
    assert isinstance(after, RecordNotFound)
    with pytest.raises(RecordNotFound):
        await repository.get(new.id)
