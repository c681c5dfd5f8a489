"""Insertions with idempotency keys, on a real PostgreSQL: once each, with the first answer kept."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
import pytest
from pg_sessions import started

from paceline.errors import AlreadyExists, Code, Error, NotFound, StaleVersion
from paceline.idempotency import IdempotencyKey, KeyInFlight, KeyReused
from paceline.postgres import (
    IDEMPOTENCY_SCHEMA,
    Connection,
    Pool,
    PoolSettings,
    RowCleaner,
    TableChange,
    TableSchema,
    VersionedTable,
    uuid7,
)
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

NOW: Final = datetime(2026, 11, 23, 12, 30, 15, 123456, UTC)
MANY: Final = 100_000


class NoteDraft(msgspec.Struct, frozen=True):
    text: str


class Note(msgspec.Struct, frozen=True):
    id: UUID
    text: str
    version: int
    created_at: datetime
    updated_at: datetime


NOTES: Final = TableSchema(
    name="notes", item=Note, draft=NoteDraft, not_found=NotFound, stale=StaleVersion
)
CREATE: Final = """
    CREATE TABLE notes (
        id uuid PRIMARY KEY, text text CHECK (text <> 'bad'), version bigint,
        created_at timestamptz, updated_at timestamptz
    );
    CREATE TABLE log (id uuid)
"""


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, PoolSettings(max_size=4, min_size=1))) as found:
        yield found


@pytest.fixture
async def notes(pool: Pool) -> "VersionedTable[Note, NoteDraft]":
    await pool.execute(CREATE)
    await pool.execute(IDEMPOTENCY_SCHEMA)
    return VersionedTable(pool, NOTES, on_changes=note_changes)


async def note_changes(tx: Connection, changes: Sequence[TableChange[Note]]) -> None:
    await tx.execute(
        "INSERT INTO log SELECT unnest($1::uuid[])",
        [each.id for each in changes if each.kind == "created"],
    )


def note(text: str = "a") -> Note:
    return Note(uuid7(), text, 1, NOW, NOW)


def key(text: str = "k", fingerprint: bytes = b"1", subject: str = "ada") -> IdempotencyKey:
    return IdempotencyKey(subject, text, fingerprint)


async def counts(pool: Pool) -> tuple[int, int, int]:
    """Rows of the table, of what is written with them, and of keys."""
    row = await pool.fetchrow(
        "SELECT (SELECT count(*) FROM notes), (SELECT count(*) FROM log),"
        " (SELECT count(*) FROM idempotency_answers)"
    )
    assert row is not None
    return row[0], row[1], row[2]


async def test_an_insertion_with_a_key_takes_effect_once_and_is_answered_alike(
    pool: Pool, notes: "VersionedTable[Note, NoteDraft]"
) -> None:
    first = await notes.insert(note(), key())
    assert await notes.insert(note(), key()) == first
    await notes.replace(first.id, NoteDraft("b"))
    assert await notes.insert(note(), key()) == first, "as it was answered, not as it is now"
    await notes.delete(first.id)
    assert await notes.insert(note(), key()) == first, "and not made again when it was deleted"
    assert await counts(pool) == (0, 1, 1)


async def test_a_key_is_good_for_one_request_of_one_subject(
    pool: Pool, notes: "VersionedTable[Note, NoteDraft]"
) -> None:
    first = await notes.insert(note(), key())
    with pytest.raises(KeyReused):
        await notes.insert(note("b"), key(fingerprint=b"2"))
    assert await notes.insert(note("b"), key(subject="bob", fingerprint=b"2")) != first
    assert (await counts(pool))[0] == 2


async def test_an_insertion_that_fails_leaves_its_key_unused_and_others_as_they_are(
    pool: Pool, notes: "VersionedTable[Note, NoteDraft]"
) -> None:
    taken = await notes.insert(note(), key("taken"))
    outcomes = await asyncio.gather(
        notes.insert(note(), key("good")),
        notes.insert(note("bad"), key("bad")),
        notes.insert(msgspec.structs.replace(taken, text="b"), key("again")),
        notes.insert(note(), key("taken")),
        notes.insert(note(), key("taken", b"other")),
        return_exceptions=True,
    )
    kinds = [type(each) for each in outcomes]
    assert kinds[0] is Note
    assert isinstance(outcomes[1], Error)
    assert kinds[2] is AlreadyExists
    assert outcomes[3] == taken
    assert kinds[4] is KeyInFlight
    assert await counts(pool) == (2, 2, 2)
    assert (await notes.insert(note("good"), key("bad"))).text == "good"


async def test_of_two_processes_with_one_key_one_inserts_and_both_answer_alike(
    database: str, pool: Pool, notes: "VersionedTable[Note, NoteDraft]"
) -> None:
    async with started(Pool(database, PoolSettings(max_size=2, min_size=0))) as other_pool:
        other = VersionedTable(other_pool, NOTES, on_changes=note_changes)
        for turn in range(20):
            names = [f"{turn}-{number}" for number in range(5)]
            mine = asyncio.gather(*(notes.insert(note(), key(each)) for each in names))
            theirs = asyncio.gather(*(other.insert(note(), key(each)) for each in reversed(names)))
            assert await mine == [*reversed(await theirs)]
    assert await counts(pool) == (100, 100, 100)


async def test_an_answer_of_a_type_that_has_changed_since_is_not_made_again(
    pool: Pool, notes: "VersionedTable[Note, NoteDraft]"
) -> None:
    await notes.insert(note(), key())
    await pool.execute("UPDATE idempotency_answers SET answer = '{}'")
    with pytest.raises(Error) as caught:
        await notes.insert(note(), key())
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert (await counts(pool))[0] == 1


async def test_old_keys_are_deleted_however_many_there_are(
    pool: Pool, notes: "VersionedTable[Note, NoteDraft]"
) -> None:
    await pool.execute(
        "INSERT INTO idempotency_answers SELECT 'ada', n::text, '', '', now() - interval '1 hour'"
        " FROM generate_series(1, $1::int) AS n",
        MANY,
    )
    first = await notes.insert(note(), key())
    cleaners = [
        RowCleaner(pool, RecordingLog(), "idempotency_answers", keep=60.0) for _ in range(2)
    ]
    assert sum(await asyncio.gather(*(each.clean() for each in cleaners))) == MANY
    assert await notes.insert(note(), key()) == first, "what is not old is still known"
    assert await counts(pool) == (1, 1, 1)
