"""A versioned table on a real PostgreSQL: what its items keep, and changes that come together."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from secrets import token_urlsafe
from typing import Final, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pg_sessions import started

from paceline.coalesce import BatchStart
from paceline.errors import AlreadyExists, Code, Error, NotFound, StaleVersion, chain
from paceline.postgres import (
    Connection,
    DatabaseError,
    Pool,
    PoolSettings,
    TableChange,
    TableSchema,
    VersionedTable,
    uuid7,
)
from paceline.testing import ManualClock, monitor_sessions
from paceline.testing.cancel import cancel_at_every_await

pytestmark = pytest.mark.integration

NOW: Final = datetime(2026, 11, 23, 12, 30, 15, 123456, UTC)
MISSING: Final = UUID("0192f0a0-0000-7000-8000-00000000dead")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct, frozen=True):
    label: str


class ThingDraft(msgspec.Struct, frozen=True):
    """A field of each kind; the first two have names that SQL reserves."""

    order: str
    user: int | None = None
    share: float = 0.5
    active: bool = True
    owner: UUID | None = None
    due: date | None = None
    seen: datetime | None = None
    price: Decimal | None = None
    digest: bytes = b""
    colour: Colour = Colour.RED
    kind: Literal["a", "b"] = "a"
    tags: list[str] = []
    parts: dict[str, Part] | None = None
    extra: msgspec.Raw = msgspec.Raw(b"null")


class Thing(msgspec.Struct, frozen=True):
    id: UUID
    order: str
    user: int | None
    share: float
    active: bool
    owner: UUID | None
    due: date | None
    seen: datetime | None
    price: Decimal | None
    digest: bytes
    colour: Colour
    kind: Literal["a", "b"]
    tags: list[str]
    parts: dict[str, Part] | None
    extra: msgspec.Raw
    version: int
    created_at: datetime
    updated_at: datetime


class ThingNotFound(NotFound):
    """There is no thing with that id."""


class ThingChanged(StaleVersion):
    """The thing has changed."""


CREATE: Final = """
    CREATE TABLE things (
        id uuid PRIMARY KEY, "order" text NOT NULL, "user" bigint UNIQUE, share double precision,
        active boolean, owner uuid, due date, seen timestamptz, price numeric, digest bytea,
        colour text, kind text, tags jsonb, parts jsonb, extra json,
        version bigint, created_at timestamptz, updated_at timestamptz
    );
    CREATE TABLE log (
        seq bigint GENERATED ALWAYS AS IDENTITY, kind text, id uuid, version bigint,
        before text, after text
    )
"""
THINGS: Final = TableSchema(
    name="things", item=Thing, draft=ThingDraft, not_found=ThingNotFound, stale=ThingChanged
)
FULL: Final = ThingDraft(
    "snow ☃ and 'quotes'", 2**63 - 1, -1.5e300, False, MISSING, date(2026, 2, 28),
    datetime(2026, 1, 2, 3, 4, 5, 678_901, timezone(timedelta(hours=5))),
    Decimal("12345678901234567890.123"), b"\0\xff", Colour.BLUE, "b", ["", "x"],
    {"a": Part("é")}, msgspec.Raw(b'{"a": 1e300,  "b":[]}'),
)  # fmt: skip


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, PoolSettings(max_size=4, min_size=0))) as pool:
        async with pool.connection() as connection:
            for statement in CREATE.split(";"):
                await connection.execute(statement)
        yield pool


@pytest.fixture
def things(pool: Pool) -> VersionedTable[Thing, ThingDraft]:
    return VersionedTable(pool, THINGS, clock=ManualClock(NOW.timestamp()))


@pytest.mark.parametrize("draft", [FULL, ThingDraft("")], ids=["full", "defaults"])
async def test_a_field_of_any_kind_is_got_back_as_it_was(
    things: VersionedTable[Thing, ThingDraft], draft: ThingDraft
) -> None:
    created = await things.create(draft)
    assert created.id.version == 7
    assert (created.version, created.created_at, created.updated_at) == (1, NOW, NOW)
    assert await things.get(created.id) == created
    replaced = await things.replace(created.id, FULL)
    assert replaced == msgspec.structs.replace(
        created, version=2, **{name: getattr(FULL, name) for name in FULL.__struct_fields__}
    )
    assert await things.get(created.id) == replaced
    assert await things.page(None, 2) == [replaced]


async def test_none_is_null_also_where_values_are_json(
    pool: Pool, things: VersionedTable[Thing, ThingDraft]
) -> None:
    await things.create(ThingDraft("a"))
    assert await pool.fetchval("SELECT parts IS NULL AND extra::text = 'null' FROM things")


async def test_what_is_not_there_or_is_stale_raises_the_errors_of_the_schema(
    things: VersionedTable[Thing, ThingDraft],
) -> None:
    draft = ThingDraft("a")
    for attempt in (things.get(MISSING), things.replace(MISSING, draft), things.delete(MISSING)):
        with pytest.raises(ThingNotFound):
            await attempt
    created = await things.create(draft)
    for versions in ({2}, set[int]()):
        with pytest.raises(ThingChanged):
            await things.replace(created.id, draft, NOW, versions)
        with pytest.raises(ThingChanged):
            await things.delete(created.id, versions)
    await things.delete(created.id, {1, 2})
    with pytest.raises(ThingNotFound) as caught:
        await things.get(created.id)
    assert chain(caught.value) == f"things.get({created.id}): not found"


async def test_without_errors_of_its_own_a_schema_has_the_kits(pool: Pool) -> None:
    things = VersionedTable(pool, TableSchema(name="things", item=Thing, draft=ThingDraft))
    with pytest.raises(NotFound):
        await things.get(MISSING)
    created = await things.create(ThingDraft("a"))
    with pytest.raises(StaleVersion):
        await things.delete(created.id, {2})


async def test_an_id_is_inserted_once_and_other_constraints_keep_their_names(
    things: VersionedTable[Thing, ThingDraft],
) -> None:
    first = await things.create(ThingDraft("a", 1))
    with pytest.raises(AlreadyExists):
        await things.insert(first)
    with pytest.raises(DatabaseError) as caught:
        await things.create(ThingDraft("b", 1))
    assert (caught.value.code, caught.value.constraint) == (
        Code.ALREADY_EXISTS,
        "things_user_key",
    )


async def test_of_insertions_that_come_together_only_the_impossible_one_fails(
    things: VersionedTable[Thing, ThingDraft],
) -> None:
    drafts = [ThingDraft("a", number % 19) for number in range(20)]
    results = await asyncio.gather(*map(things.create, drafts), return_exceptions=True)
    assert [type(each) for each in results] == [Thing] * 19 + [DatabaseError]


async def test_pages_follow_each_other_by_id_and_can_have_a_condition(
    things: VersionedTable[Thing, ThingDraft],
) -> None:
    made = [await things.create(ThingDraft(f"{n}", n)) for n in range(6)]
    assert await things.page(None, 4) == made[:4]
    assert await things.page(made[3].id, 4) == made[4:]
    assert await things.page(made[5].id, 4) == []
    odd = '"user" % $3 = $4 OR false'
    assert await things.page(None, 2, odd, 2, 1) == [made[1], made[3]]
    assert await things.page(made[3].id, 2, odd, 2, 1) == [made[5]]


class Batches:
    """An observer that keeps how many items each batch has."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []

    def capture(self) -> object:
        return None

    def batch(self, start: BatchStart) -> AbstractContextManager[object]:
        self.started.append((start.name, start.items))
        return nullcontext()


async def test_pages_that_are_asked_for_together_share_a_statement(pool: Pool) -> None:
    seen = Batches()
    things = VersionedTable(pool, THINGS, observer=seen)
    made = [await things.create(ThingDraft(f"{n}", n)) for n in range(6)]
    seen.started.clear()
    pages = await asyncio.gather(
        things.page(None, 2),
        things.page(None, 2),
        things.page(None, 3),
        things.page(made[1].id, 2),
        things.page(made[4].id, 2),
        things.page(made[5].id, 2),
        things.page(None, 0),
    )
    assert pages == [made[:2], made[:2], made[:3], made[2:4], made[5:], [], []]
    assert seen.started == [("reading pages of things", 6)]
    pages[0].clear()
    assert pages[1] == made[:2], "each caller has a list of its own"


async def test_pages_begin_with_the_lowest_id_and_end_with_the_highest(pool: Pool) -> None:
    await pool.execute(CREATE_NOTES)
    notes = VersionedTable(pool, NOTES)
    lowest, highest = UUID(int=0), UUID(int=2**128 - 1)
    ends = [Note(each, "a", 1, NOW, NOW) for each in (lowest, highest)]
    for each in ends:
        await notes.insert(each)
    assert await notes.page(None, 5) == ends
    assert await notes.page(lowest, 5) == ends[1:]
    assert await notes.page(highest, 5) == []
    first, second = await asyncio.gather(notes.page(None, 1), notes.page(lowest, 1))
    assert (first, second) == (ends[:1], ends[1:])


async def test_pages_of_any_size_are_read_also_when_many_sizes_are_asked_for(
    things: VersionedTable[Thing, ThingDraft],
) -> None:
    made = [await things.create(ThingDraft(f"{n}", n)) for n in range(30)]
    for limit in (*range(31), 200, 3):
        assert await things.page(None, limit) == made[:limit]


@pytest.mark.parametrize(
    "text", ["x" * 4000, token_urlsafe(3000)], ids=["compressed", "not compressed"]
)
async def test_a_page_ends_with_the_item_that_reaches_the_most_bytes(pool: Pool, text: str) -> None:
    things = VersionedTable(pool, THINGS, max_page_bytes=10_000)
    extra = msgspec.Raw(msgspec.json.encode(text))
    made = [await things.create(ThingDraft("a", extra=extra)) for _ in range(7)]
    small = [await things.create(ThingDraft("b")) for _ in range(7)]
    for limit in (1, 2, 3, 100, 200):
        assert await things.page(None, limit) == made[: min(limit, 3)]
    assert await things.page(None, 100, "octet_length(extra::text) > $3", 100) == made[:3]
    assert await things.page(made[5].id, 100) == [made[6], *small]
    first, second, third = await asyncio.gather(
        things.page(None, 100), things.page(made[2].id, 100), things.page(made[5].id, 3)
    )
    assert (first, second, third) == (made[:3], made[3:6], [made[6], *small[:2]])


async def test_an_item_that_is_larger_than_a_page_is_one(pool: Pool) -> None:
    things = VersionedTable(pool, THINGS, max_page_bytes=1)
    made = [await things.create(ThingDraft("a")) for _ in range(2)]
    assert await things.page(None, 9) == made[:1]
    assert await things.page(made[0].id, 9) == made[1:]
    assert await things.page(made[1].id, 9) == []
    with pytest.raises(ValueError, match="max_page_bytes"):
        VersionedTable(pool, THINGS, max_page_bytes=0)


async def test_a_page_that_fails_fails_for_its_callers_only(pool: Pool) -> None:
    things = VersionedTable(pool, THINGS)
    made = await things.create(ThingDraft("a"))
    wrong, right, none = await asyncio.gather(
        things.page(None, -1), things.page(None, 1), things.page(made.id, 1), return_exceptions=True
    )
    assert isinstance(wrong, Error)
    assert (right, none) == ([made], [])


class Log:
    """What happened, in a table beside; fails when told to."""

    def __init__(self) -> None:
        self.fails = False

    async def __call__(self, tx: Connection, changes: Sequence[TableChange[Thing]]) -> None:
        for each in changes:
            await tx.execute(
                "INSERT INTO log (kind, id, version, before, after) VALUES ($1, $2, $3, $4, $5)",
                each.kind, each.id, each.version, each.before.get("order"),
                each.item and each.item.order,
            )  # fmt: skip
        if self.fails:
            raise Error(Code.UNAVAILABLE, "the log is full")


async def logged(pool: Pool) -> list[tuple[object, ...]]:
    rows = await pool.fetch("SELECT kind, version, before, after FROM log ORDER BY seq")
    return [tuple(row) for row in rows]


async def test_changes_are_told_inside_their_transaction_with_what_was_before(pool: Pool) -> None:
    log, commits = Log(), list[int]()
    things = VersionedTable(
        pool, THINGS, on_changes=log, remember=["order"], on_commit=lambda: commits.append(1)
    )
    created = await things.create(ThingDraft("a"))
    assert len(commits) == 1
    one, two, stale, gone, late = await asyncio.gather(
        things.replace(created.id, ThingDraft("b")),
        things.replace(created.id, ThingDraft("c")),
        things.replace(created.id, ThingDraft("d"), NOW, {1}),
        things.delete(created.id),
        things.replace(created.id, ThingDraft("e")),
        return_exceptions=True,
    )
    assert isinstance(one, Thing)
    assert isinstance(two, Thing)
    assert (one.version, two.version, gone) == (2, 3, None)
    assert isinstance(stale, ThingChanged)
    assert isinstance(late, ThingNotFound)
    assert len(commits) == 2
    assert await logged(pool) == [
        ("created", 1, None, "a"),
        ("replaced", 2, "a", "b"),
        ("replaced", 3, "b", "c"),
        ("deleted", 3, "c", None),
    ]


async def test_what_the_hook_refuses_is_not_stored(pool: Pool) -> None:
    log, commits = Log(), list[int]()
    things = VersionedTable(
        pool, THINGS, on_changes=log, remember=["order"], on_commit=lambda: commits.append(1)
    )
    created = await things.create(ThingDraft("a"))
    log.fails = True
    for attempt in (
        things.create(ThingDraft("b")),
        things.replace(created.id, ThingDraft("b")),
        things.delete(created.id),
    ):
        with pytest.raises(Error, match="the log is full"):
            await attempt
    assert await things.page(None, 5) == [created]
    assert len(await logged(pool)) == len(commits) == 1


async def test_an_insertion_of_ones_own_takes_the_columns_in_order(pool: Pool) -> None:
    things = VersionedTable(
        pool,
        NOTES,
        insert="""
            WITH new AS (
                INSERT INTO notes SELECT * FROM unnest(
                    $1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[]
                ) RETURNING id, version
            )
            INSERT INTO log (kind, id, version) SELECT 'own', id, version FROM new
        """,
        on_changes=refuse,
    )
    await pool.execute(CREATE_NOTES)
    note = await things.create(NoteDraft("a"))
    assert await things.get(note.id) == note
    assert await pool.fetchval("SELECT kind FROM log") == "own"


class NoteDraft(msgspec.Struct, frozen=True):
    text: str


class Note(msgspec.Struct, frozen=True):
    id: UUID
    text: str
    version: int
    created_at: datetime
    updated_at: datetime


NOTES: Final = TableSchema(name="notes", item=Note, draft=NoteDraft)
CREATE_NOTES: Final = """
    CREATE TABLE notes (
        id uuid PRIMARY KEY, text text, version bigint,
        created_at timestamptz, updated_at timestamptz
    )
"""


async def refuse(tx: Connection, changes: Sequence[TableChange[Note]]) -> None:
    raise AssertionError("the statement does it")


@dataclass(frozen=True)
class Step:
    """One call: of which item, a replacement or a deletion, and the version it expects."""

    item: int
    text: str | None
    expected: frozenset[int] | None


STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, 3),
        st.none() | st.sampled_from("abc"),
        st.none() | st.frozensets(st.integers(1, 4), max_size=3),
    ),
    max_size=12,
)


async def test_changes_that_come_together_have_the_outcomes_of_one_after_the_other(
    pool: Pool,
) -> None:
    await pool.execute(CREATE_NOTES)
    notes = VersionedTable(pool, NOTES)

    async def agree(steps: list[Step]) -> None:
        made = [await notes.create(NoteDraft("new")) for _ in range(3)]
        ids = [*(note.id for note in made), MISSING]
        model: dict[UUID, tuple[int, str]] = {each.id: (1, each.text) for each in made}
        expected = [_outcome(model, ids[step.item], step) for step in steps]
        calls = [
            notes.delete(ids[step.item], step.expected)
            if step.text is None
            else notes.replace(ids[step.item], NoteDraft(step.text), NOW, step.expected)
            for step in steps
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [
            (each.version, each.text) if isinstance(each, Note) else each and type(each)
            for each in results
        ] == expected
        left = await notes.page(None, 10)
        assert {each.id: (each.version, each.text) for each in left} == model
        await pool.execute("TRUNCATE notes")

    # Hypothesis calls a plain function, and the test's loop is already running: on another thread.
    loop = asyncio.get_running_loop()

    @settings(max_examples=50)
    @given(steps=STEPS)
    def check(steps: list[Step]) -> None:
        asyncio.run_coroutine_threadsafe(agree(steps), loop).result(30)

    await asyncio.to_thread(check)


def _outcome(
    model: dict[UUID, tuple[int, str]], item_id: UUID, step: Step
) -> tuple[int, str] | type[Exception] | None:
    """The change made to the model, and what its caller should get."""
    if item_id not in model:
        return NotFound
    version, _ = model[item_id]
    if step.expected is not None and version not in step.expected:
        return StaleVersion
    if step.text is None:
        del model[item_id]
        return None
    model[item_id] = (version + 1, step.text)
    return model[item_id]


async def test_two_replicas_that_change_the_same_rows_do_not_deadlock(
    pool: Pool, database: str
) -> None:
    await pool.execute(CREATE_NOTES)
    ids = [uuid7() for _ in range(30)]
    async with (
        started(Pool(database, PoolSettings(max_size=2, min_size=0))) as other,
        monitor_sessions(database) as monitor,
    ):
        replicas = [VersionedTable(each, NOTES) for each in (pool, other)]
        for item_id in ids:
            await replicas[0].insert(Note(item_id, "new", 1, NOW, NOW))
        for turn in range(5):
            await asyncio.gather(
                *(replicas[0].replace(each, NoteDraft("a")) for each in ids),
                *(replicas[1].replace(each, NoteDraft("b")) for each in reversed(ids)),
            )
            versions = {each.version for each in await replicas[0].page(None, 100)}
            assert versions == {1 + 2 * (turn + 1)}
        assert await monitor.deadlocks() == 0


async def test_calls_cancelled_at_every_wait_leave_a_table_that_answers(pool: Pool) -> None:
    await pool.execute(CREATE_NOTES)
    notes = VersionedTable(pool, NOTES)
    kept = await notes.create(NoteDraft("kept"))

    async def work() -> None:
        note = await notes.create(NoteDraft("a"))
        await notes.get(note.id)
        await notes.replace(note.id, NoteDraft("b"), NOW, {1})
        await notes.page(None, 5)
        await notes.delete(note.id, {2})

    async def intact() -> None:
        assert await notes.get(kept.id) == kept
        replaced = await notes.replace(kept.id, NoteDraft("kept"))
        assert replaced.version > 1
        await pool.execute("UPDATE notes SET version = 1, updated_at = created_at")
        assert pool.in_use == 0

    assert await cancel_at_every_await(work, intact) >= 5
