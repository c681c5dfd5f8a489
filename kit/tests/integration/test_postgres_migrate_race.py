"""One migrator at a time: races, waiting, cancellation and kills."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from gated_migration import AT_GATE, GATE, WAIT_AT_GATE, close_gate, open_gate, until

from paceline.postgres.migrate import (
    LockTimeout,
    MigrationFailed,
    MigrationState,
    Migrator,
    read_source,
)

pytestmark = pytest.mark.integration

FILES = {
    "000001_a.up.sql": "CREATE TABLE a (id int); INSERT INTO a VALUES (1);",
    "000002_b.up.sql": "CREATE INDEX CONCURRENTLY i ON a (id);",
    "000003_c.up.sql": "INSERT INTO a VALUES (2);",
}
GATED = {"000001_a.up.sql": f"{WAIT_AT_GATE} CREATE TABLE a (id int);"}

MAIN = """
import asyncio, sys
from pathlib import Path
import asyncpg
from paceline.postgres.migrate import Migrator, read_source

async def main(dsn, folder):
    await Migrator(await asyncpg.connect(dsn), read_source(Path(folder))).up()

asyncio.run(main(*sys.argv[1:]))
"""

Connect = Callable[[], Awaitable[asyncpg.Connection]]


@pytest.fixture
async def connect(database: str) -> AsyncGenerator[Connect, None]:
    async with AsyncExitStack() as stack:

        async def connected() -> asyncpg.Connection:
            connection = await asyncpg.connect(database)
            stack.push_async_callback(connection.close)
            return connection

        yield connected


def folder_of(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


NO_MIGRATION_LOCK = (
    f"NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid <> {GATE})"
)


async def test_eight_at_once_apply_each_migration_once(connect: Connect, tmp_path: Path) -> None:
    source = read_source(folder_of(tmp_path, FILES))
    connections = [await connect() for _ in range(8)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(Migrator(each, source).up()) for each in connections]
    counts = sorted(len(task.result()) for task in tasks)
    assert counts == [0, 0, 0, 0, 0, 0, 0, 3]
    assert await connections[0].fetchval("SELECT array_agg(id ORDER BY id) FROM a") == [1, 2]
    assert await connections[0].fetchval(f"SELECT {NO_MIGRATION_LOCK}")


async def test_a_dirty_version_of_a_running_step_is_waited_for_not_reported(
    connect: Connect, tmp_path: Path
) -> None:
    source = read_source(folder_of(tmp_path, GATED))
    gate, one, two = await connect(), await connect(), await connect()
    await close_gate(gate)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(Migrator(one, source).up())
        await until(gate, AT_GATE)
        assert await Migrator(gate, source).state() == MigrationState(1, dirty=True)
        second = group.create_task(Migrator(two, source).up())
        await asyncio.wait([second], timeout=0.1)
        assert not second.done()
        await open_gate(gate)
    assert (len(first.result()), len(second.result())) == (1, 0)


async def test_the_holder_of_the_lock_is_named_after_the_timeout(
    connect: Connect, tmp_path: Path
) -> None:
    source = read_source(folder_of(tmp_path, GATED))
    gate, one, two = await connect(), await connect(), await connect()
    await one.execute("SET application_name = 'the other one'")
    await close_gate(gate)
    async with asyncio.TaskGroup() as group:
        group.create_task(Migrator(one, source).up())
        await until(gate, AT_GATE)
        with pytest.raises(LockTimeout) as caught:
            await Migrator(two, source, lock_timeout=0.05).up()
        await open_gate(gate)
    pid = one.get_server_pid()
    assert f"within 0.05s: pid {pid} (user postgres, application the other one" in str(caught.value)


async def test_a_cancelled_migrator_leaves_no_lock_and_a_dirty_version(
    connect: Connect, tmp_path: Path
) -> None:
    source = read_source(folder_of(tmp_path, GATED))
    gate, one = await connect(), await connect()
    await close_gate(gate)
    task = asyncio.create_task(Migrator(one, source).up())
    await until(gate, AT_GATE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gate.fetchval(f"SELECT {NO_MIGRATION_LOCK}")
    assert not one.is_in_transaction()
    assert await Migrator(one, source).state() == MigrationState(1, dirty=True)


async def test_a_migrator_cancelled_while_it_waits_for_the_lock_takes_nothing(
    connect: Connect, tmp_path: Path
) -> None:
    source = read_source(folder_of(tmp_path, GATED))
    gate, one, two = await connect(), await connect(), await connect()
    await close_gate(gate)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(Migrator(one, source).up())
        await until(gate, AT_GATE)
        waiting = asyncio.create_task(Migrator(two, source).up())
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await open_gate(gate)
    assert len(first.result()) == 1
    assert await gate.fetchval(f"SELECT {NO_MIGRATION_LOCK}")


async def test_a_session_that_is_ended_by_the_server_is_a_failed_migration(
    connect: Connect, tmp_path: Path
) -> None:
    source = read_source(folder_of(tmp_path, GATED))
    gate, one = await connect(), await connect()
    await close_gate(gate)
    task = asyncio.create_task(Migrator(one, source).up())
    await until(gate, AT_GATE)
    await gate.execute(f"SELECT pg_terminate_backend({one.get_server_pid()})")
    with pytest.raises(MigrationFailed) as caught:
        await task
    assert "terminating connection" in caught.value.explanation[-2]
    await until(gate, NO_MIGRATION_LOCK)
    assert await Migrator(gate, source).state() == MigrationState(1, dirty=True)


async def test_the_lock_of_a_killed_migrator_ends_with_its_session(
    connect: Connect, database: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, GATED)
    gate = await connect()
    # Without this the server notices a dead client only when the statement ends.
    name = await gate.fetchval("SELECT current_database()")
    await gate.execute(f"ALTER DATABASE {name} SET client_connection_check_interval = '20ms'")
    await close_gate(gate)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, database, str(folder)
    )
    try:
        await until(gate, AT_GATE)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await until(gate, NO_MIGRATION_LOCK)
    next_one = Migrator(await connect(), read_source(folder), lock_timeout=5)
    assert await next_one.state() == MigrationState(1, dirty=True)
    await next_one.force(None)
    await open_gate(gate)
    assert len(await next_one.up()) == 1
