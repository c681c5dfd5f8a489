"""Migrations beside a long transaction: they give way, nobody waits behind them, and they tell."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from paceline.postgres.migrate import (
    LockNotAvailable,
    LockWait,
    MigrationFailed,
    MigrationState,
    Migrator,
    Step,
    read_source,
)

pytestmark = pytest.mark.integration

QUICK = LockWait(0.1, 30.0)


class Told:
    """What the migrator reports; ``heard`` is set when it waits."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.waits: list[tuple[str, str | None]] = []
        self.heard = asyncio.Event()

    def applied(self, step: Step, seconds: float) -> None:
        del seconds
        self.steps.append(str(step))

    def waiting(self, step: Step, seconds: float, oldest: str | None) -> None:
        assert seconds > 0
        self.waits.append((str(step), oldest))
        self.heard.set()


@pytest.fixture
async def two(database: str) -> AsyncGenerator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    """A migrator's connection, and one with a long transaction."""
    one = await asyncpg.connect(database)
    other = await asyncpg.connect(database, server_settings={"application_name": "report"})
    await one.execute("CREATE TABLE things (n int)")
    yield one, other
    await one.close()
    await other.close()


def write(folder: Path, sql: str) -> Path:
    (folder / "000001_a.up.sql").write_text(sql, encoding="utf-8")
    return folder


async def test_readers_do_not_wait_behind_a_migration_that_waits(
    two: tuple[asyncpg.Connection, asyncpg.Connection], database: str, tmp_path: Path
) -> None:
    connection, holder = two
    told = Told()
    source = read_source(write(tmp_path, "ALTER TABLE things ADD COLUMN m int;"))
    reader = await asyncpg.connect(database, command_timeout=2)
    async with holder.transaction():
        await holder.fetchval("SELECT count(*) FROM things")  # held to the transaction's end
        migrating = asyncio.create_task(
            Migrator(connection, source, progress=told, lock_wait=QUICK).up()
        )
        await told.heard.wait()
        for _ in range(20):
            assert await reader.fetchval("SELECT count(*) FROM things") == 0
            await asyncio.sleep(0.02)
        assert not migrating.done()
    await migrating
    await reader.close()
    assert told.steps == ["000001/u a"]
    step, oldest = told.waits[0]
    assert step == "000001/u a"
    assert oldest is not None
    assert "application report, idle in transaction" in oldest
    assert await connection.fetchval("SELECT count(m) FROM things") == 0
    assert await connection.fetchval("SHOW lock_timeout") == "0"


async def test_a_migration_that_gets_no_lock_leaves_nothing_behind(
    two: tuple[asyncpg.Connection, asyncpg.Connection], tmp_path: Path
) -> None:
    connection, holder = two
    sql = "CREATE TABLE others (n int); ALTER TABLE things ADD COLUMN m int;"
    source = read_source(write(tmp_path, sql))
    migrator = Migrator(connection, source, lock_wait=LockWait(0.05, 0.5))
    async with holder.transaction():
        await holder.fetchval("SELECT count(*) FROM things")
        with pytest.raises(LockNotAvailable, match=r"nothing has changed.*application report"):
            await migrator.up()
    assert await migrator.state() == MigrationState(None)
    assert await connection.fetchval("SELECT to_regclass('others')") is None
    assert len(await migrator.up()) == 1


async def test_an_index_that_is_made_concurrently_waits_as_long_as_it_has_to(
    two: tuple[asyncpg.Connection, asyncpg.Connection], tmp_path: Path
) -> None:
    connection, holder = two
    source = read_source(write(tmp_path, "CREATE INDEX CONCURRENTLY i ON things (n);"))
    async with holder.transaction():
        await holder.execute("INSERT INTO things VALUES (1)")
        migrating = asyncio.create_task(Migrator(connection, source, lock_wait=QUICK).up())
        await asyncio.sleep(0.5)  # five times as long as any other statement would wait
        assert not migrating.done()
    await migrating
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"
    assert await connection.fetchval(valid) is True


async def test_a_file_with_one_transaction_of_its_own_gives_way_too(
    two: tuple[asyncpg.Connection, asyncpg.Connection], tmp_path: Path
) -> None:
    connection, holder = two
    told = Told()
    sql = "BEGIN; ALTER TABLE things ADD COLUMN m int; COMMIT;"
    source = read_source(write(tmp_path, sql))
    async with holder.transaction():
        await holder.fetchval("SELECT count(*) FROM things")
        migrating = asyncio.create_task(
            Migrator(connection, source, progress=told, lock_wait=QUICK).up()
        )
        await told.heard.wait()
    await migrating
    assert told.steps == ["000001/u a"]


async def test_another_failure_is_reported_as_before(
    two: tuple[asyncpg.Connection, asyncpg.Connection], tmp_path: Path
) -> None:
    connection, _ = two
    migrator = Migrator(connection, read_source(write(tmp_path, "SELECT 1; SELECT nonsense;")))
    with pytest.raises(MigrationFailed):
        await migrator.up()
    assert await migrator.state() == MigrationState(1, dirty=True)
    assert await connection.fetchval("SHOW lock_timeout") == "0"
