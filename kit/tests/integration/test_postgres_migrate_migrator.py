"""The migrator on a real PostgreSQL: versions, dirty states, and the reports of failures."""

from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from paceline.errors import Code, Error
from paceline.postgres.migrate import (
    DirtyDatabase,
    MigrationFailed,
    MigrationState,
    Migrator,
    NotEnoughMigrations,
    SourceError,
    Step,
    UnknownVersion,
    read_source,
)

pytestmark = pytest.mark.integration

THREE = {
    "000001_a.up.sql": "CREATE TABLE a (id int PRIMARY KEY);\nINSERT INTO a VALUES (1);",
    "000001_a.down.sql": "DROP TABLE a;",
    "000002_b.up.sql": "CREATE TABLE b (id int);",
    "000002_b.down.sql": "DROP TABLE b;",
    "000003_i.up.sql": "CREATE INDEX CONCURRENTLY i ON b (id);",
    "000003_i.down.sql": "DROP INDEX CONCURRENTLY i;",
}
WRITTEN = list[tuple[int, bool]]


@pytest.fixture
async def connection(database: str) -> AsyncGenerator[asyncpg.Connection, None]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


class Progress:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def applied(self, step: Step, seconds: float) -> None:
        assert seconds > 0
        self.steps.append(str(step))


class Counting:
    """A connection that records its statements."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.queries: list[str] = []

    async def execute(self, query: str, /, *args: object) -> object:
        self.queries.append(query)
        return await self._connection.execute(query, *args)

    async def fetchrow(self, query: str, /, *args: object) -> asyncpg.Record | None:
        self.queries.append(query)
        return await self._connection.fetchrow(query, *args)

    async def fetchval(self, query: str, /, *args: object) -> object:
        self.queries.append(query)
        return await self._connection.fetchval(query, *args)

    def is_in_transaction(self) -> bool:
        return self._connection.is_in_transaction()


def migrator(connection: asyncpg.Connection, folder: Path, **files: str) -> Migrator:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return Migrator(connection, read_source(folder), lock_timeout=1)


async def rows(connection: asyncpg.Connection) -> WRITTEN:
    found = await connection.fetch("SELECT version, dirty FROM public.schema_migrations")
    return [(row["version"], row["dirty"]) for row in found]


async def exists(connection: asyncpg.Connection, relation: str) -> bool:
    return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", relation))


async def locks(connection: asyncpg.Connection) -> int:
    return int(
        await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    )


async def test_up_applies_all_and_reports_each_step(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    migrator(connection, tmp_path, **THREE)
    progress = Progress()
    applied = await Migrator(connection, read_source(tmp_path), progress=progress).up()
    assert progress.steps == ["000001/u a", "000002/u b", "000003/u i"]
    assert [str(step) for step in applied] == progress.steps
    assert await rows(connection) == [(3, False)]
    assert await exists(connection, "i")
    assert await locks(connection) == 0


async def test_up_down_and_goto(connection: asyncpg.Connection, tmp_path: Path) -> None:
    m = migrator(connection, tmp_path, **THREE)
    assert await m.state() == MigrationState(None)
    assert not await exists(connection, "schema_migrations")
    assert len(await m.up(1)) == 1
    assert await m.state() == MigrationState(1)
    assert len(await m.goto(3)) == 2
    assert await m.goto(3) == ()
    assert len(await m.goto(2)) == 1
    assert not await exists(connection, "i")
    assert len(await m.down(1)) == 1
    assert await rows(connection) == [(1, False)]
    assert len(await m.down()) == 1
    assert await rows(connection) == []
    assert await m.state() == MigrationState(None)
    assert await m.down() == ()
    assert await m.up(0) == ()


async def test_the_table_is_created_as_golang_migrate_creates_it(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    await migrator(connection, tmp_path, **THREE).up(1)
    columns = await connection.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull FROM pg_attribute"
        " WHERE attrelid = 'public.schema_migrations'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert [tuple(column) for column in columns] == [
        ("version", "bigint", True),
        ("dirty", "boolean", True),
    ]
    key = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = $1"
    )
    table = await connection.fetchval("SELECT 'public.schema_migrations'::regclass::oid")
    assert await connection.fetchval(key, table) == "PRIMARY KEY (version)"


async def test_up_on_a_current_database_reads_and_takes_no_lock(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    await migrator(connection, tmp_path, **THREE).up()
    counting = Counting(connection)
    current = Migrator(counting, read_source(tmp_path))
    assert await current.up() == ()
    assert not [query for query in counting.queries if "advisory" in query]
    assert len(counting.queries) == 2  # where the table is, what it says
    await current.up()
    assert len(counting.queries) == 3


async def test_too_large_a_limit_applies_all_and_fails(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **THREE)
    with pytest.raises(NotEnoughMigrations, match=r"asked for 5 migrations, .* no more than 3"):
        await m.up(5)
    assert await rows(connection) == [(3, False)]
    with pytest.raises(NotEnoughMigrations, match=r"asked for 1 migration, .* no more than 0"):
        await m.up(1)
    with pytest.raises(NotEnoughMigrations):
        await m.down(4)
    assert await rows(connection) == []


async def test_a_failed_statement_leaves_the_version_dirty_and_is_located(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    failing = "-- größer\nCREATE TABLE b (id int);\nINSERT INTO b\n  SELECT nope FROM a;\n"
    m = migrator(connection, tmp_path, **{**THREE, "000002_b.up.sql": failing})
    with pytest.raises(MigrationFailed) as caught:
        await m.up()
    failure = caught.value
    assert str(failure) == (
        "migration 000002_b.up.sql failed at statement 2 of 2, line 4, column 10"
    )
    assert failure.explanation[:2] == (
        "statement 2 (line 3): INSERT INTO b",
        '42703: column "nope" does not exist',
    )
    assert isinstance(failure.__cause__, asyncpg.UndefinedColumnError)
    assert await rows(connection) == [(2, True)]
    assert not await exists(connection, "b")  # one file is one transaction
    assert await locks(connection) == 0


async def test_detail_and_hint_are_reported(connection: asyncpg.Connection, tmp_path: Path) -> None:
    duplicate = "INSERT INTO a VALUES (2);\nINSERT INTO a VALUES (1);\nSELECT 1;"
    raised = "DO $$ BEGIN RAISE 'no' USING HINT = 'try again'; END $$"
    m = migrator(
        connection,
        tmp_path,
        **{**THREE, "000002_b.up.sql": duplicate, "000002_b.down.sql": raised},
    )
    with pytest.raises(MigrationFailed) as caught:
        await m.up()
    assert (
        str(caught.value) == "migration 000002_b.up.sql failed, probably at statement 1 or 2 of 3"
    )
    assert "detail: Key (id)=(1) already exists." in caught.value.explanation
    await m.force(2)
    with pytest.raises(MigrationFailed) as caught:
        await m.down(1)
    assert "hint: try again" in caught.value.explanation


async def test_nothing_runs_on_a_dirty_database_until_a_version_is_forced(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **{**THREE, "000002_b.up.sql": "SELECT 1/0;"})
    with pytest.raises(MigrationFailed):
        await m.up()
    for move in (m.up(), m.down(), m.goto(1)):
        with pytest.raises(DirtyDatabase, match=r"version 000002.*repair by hand, then: .*force V"):
            await move
    assert await m.state() == MigrationState(2, dirty=True)
    await m.force(1)
    (tmp_path / "000002_b.up.sql").write_text("CREATE TABLE b (id int)", encoding="utf-8")
    assert len(await m.up()) == 2
    await m.force(None)
    assert await rows(connection) == []


async def test_a_failed_first_step_down_leaves_no_version_dirty(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **{**THREE, "000001_a.down.sql": "DROP TABLE nope"})
    await m.up(1)
    with pytest.raises(MigrationFailed):
        await m.down(1)
    assert await rows(connection) == [(-1, True)]
    assert await m.state() == MigrationState(None, dirty=True)
    with pytest.raises(DirtyDatabase, match="dirty at no version"):
        await m.up()


async def test_a_transaction_that_is_left_open_is_rolled_back_and_dirty(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **{**THREE, "000002_b.up.sql": "BEGIN; CREATE TABLE b ();"})
    with pytest.raises(MigrationFailed) as caught:
        await m.up()
    assert "BEGIN without COMMIT" in caught.value.explanation[0]
    assert not await exists(connection, "b")
    assert await rows(connection) == [(2, True)]
    assert await locks(connection) == 0


async def test_a_failure_inside_the_files_own_transaction_releases_the_lock(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **{**THREE, "000002_b.up.sql": "BEGIN; SELECT 1/0; COMMIT"})
    with pytest.raises(MigrationFailed):
        await m.up()
    assert await rows(connection) == [(2, True)]
    assert await locks(connection) == 0


async def test_a_command_that_cannot_be_in_a_transaction_must_be_alone_in_its_file(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    both = "CREATE TABLE b (id int);\nCREATE INDEX CONCURRENTLY i ON b (id);"
    m = migrator(connection, tmp_path, **{**THREE, "000002_b.up.sql": both})
    with pytest.raises(MigrationFailed, match="probably at statement 2 of 2, line 2"):
        await m.up()


@pytest.mark.parametrize("text", ["", " \n", "-- later\n/* ; */", ";"], ids=repr)
async def test_a_file_without_a_statement_only_moves_the_version(
    connection: asyncpg.Connection, tmp_path: Path, text: str
) -> None:
    m = migrator(connection, tmp_path, **{**THREE, "000001_a.up.sql": text})
    assert len(await m.up(1)) == 1
    assert await rows(connection) == [(1, False)]


async def test_a_file_that_changes_the_search_path_does_not_lose_the_table(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    away = "CREATE SCHEMA elsewhere; SELECT set_config('search_path', 'elsewhere', false);"
    m = migrator(
        connection,
        tmp_path,
        **{**THREE, "000001_a.up.sql": away, "000003_i.up.sql": "CREATE TABLE c ()"},
    )
    await m.up()
    assert await m.state() == MigrationState(3)
    assert await rows(connection) == [(3, False)]
    assert await exists(connection, "elsewhere.c")


async def test_a_file_that_is_missing_or_broken_stops_the_plan_before_anything_runs(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **THREE)
    (tmp_path / "000003_i.up.sql").write_bytes(b"\xff")
    with pytest.raises(SourceError, match="not UTF-8"):
        await m.up()
    assert await rows(connection) == []
    (tmp_path / "000002_b.up.sql").unlink()
    with pytest.raises(SourceError, match="no up file"):
        await Migrator(connection, read_source(tmp_path)).up()


async def test_a_database_ahead_of_the_files_is_refused(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **THREE)
    await m.force(9)
    with pytest.raises(UnknownVersion, match=r"version 000009 .*newest is 000003"):
        await m.up()


async def test_a_session_without_a_schema_is_refused(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    await connection.execute("SET search_path = nowhere")
    with pytest.raises(Error, match="search_path") as caught:
        await migrator(connection, tmp_path, **THREE).up()
    assert caught.value.code is Code.FAILED_PRECONDITION


async def test_a_role_that_may_only_read_can_read_the_version(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    m = migrator(connection, tmp_path, **THREE)
    await m.up()
    role = f"reader_of_{await connection.fetchval('SELECT current_database()')}"
    await connection.execute(
        f"CREATE ROLE {role}; GRANT SELECT ON schema_migrations TO {role}; SET ROLE {role}"
    )
    try:
        reader = Migrator(connection, read_source(tmp_path))
        assert await reader.state() == MigrationState(3)
        assert await reader.up() == ()
    finally:
        await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_the_table_may_have_another_name(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    migrator(connection, tmp_path, **THREE)
    odd = Migrator(connection, read_source(tmp_path), table='odd "name"')
    await odd.up(1)
    assert await connection.fetchval('SELECT version FROM public."odd ""name"""') == 1
    assert await odd.state() == MigrationState(1)


async def test_a_negative_limit_is_a_value_error(
    connection: asyncpg.Connection, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        await migrator(connection, tmp_path, **THREE).up(-1)
