"""Our migrator and the real golang-migrate command line on one database, in turn and at once."""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from external_tools import go_tool

from paceline.postgres.migrate import (
    DirtyDatabase,
    LockTimeout,
    MigrationFailed,
    MigrationState,
    Migrator,
    read_source,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),  # the first run builds golang-migrate
]

GATE = 4711
FILES = {
    "000001_a.up.sql": "CREATE TABLE a (id int);\nINSERT INTO a VALUES (1);",
    "000001_a.down.sql": "DROP TABLE a;",
    "000002_b.up.sql": "-- nothing yet",
    "000002_b.down.sql": "",
    "000003_i.up.sql": "CREATE INDEX CONCURRENTLY i ON a (id);",
    "000003_i.down.sql": "DROP INDEX CONCURRENTLY i;",
}
BROKEN = "CREATE TABLE c ();\nSELECT nope;"


@pytest.fixture(scope="module")
def binary() -> Path:
    return Path(go_tool("golang-migrate"))


@dataclass(frozen=True)
class Theirs:
    """The real command line, on the test's database and folder."""

    binary: Path
    folder: Path
    dsn: str

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        url = f"{self.dsn}{'&' if '?' in self.dsn else '?'}sslmode=disable"
        return await asyncio.create_subprocess_exec(
            self.binary,
            *("-path", str(self.folder), "-database", url, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    async def __call__(self, *arguments: str) -> tuple[int | None, str]:
        process = await self.start(*arguments)
        output, _ = await process.communicate()
        return process.returncode, output.decode().strip()


@dataclass(frozen=True)
class Ours:
    """Our migrator, over a session of its own."""

    connection: asyncpg.Connection
    folder: Path

    def __call__(self, *, lock_timeout: float = 15.0) -> Migrator:
        return Migrator(self.connection, read_source(self.folder), lock_timeout=lock_timeout)

    async def dump(self) -> list[tuple[int, bool]]:
        found = await self.connection.fetch("SELECT version, dirty FROM schema_migrations")
        return [(row["version"], row["dirty"]) for row in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def theirs(binary: Path, folder: Path, database: str) -> Theirs:
    return Theirs(binary, folder, database)


@pytest.fixture
async def ours(folder: Path, database: str) -> AsyncGenerator[Ours, None]:
    connection = await asyncpg.connect(database)
    yield Ours(connection, folder)
    await connection.close()


async def until(observer: asyncpg.Connection, condition: str) -> None:
    async with asyncio.timeout(20):
        while not await observer.fetchval(f"SELECT {condition}"):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)


AT_GATE = (
    f"EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted)"
)
WAITS_FOR_LOCK = (
    f"EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid <> {GATE} AND NOT granted)"
)


async def test_theirs_goes_up_and_ours_sees_it(theirs: Theirs, ours: Ours) -> None:
    assert (await theirs("up"))[0] == 0
    assert await ours().state() == MigrationState(3)
    assert await ours().up() == ()


async def test_ours_goes_up_and_theirs_sees_it(theirs: Theirs, ours: Ours) -> None:
    assert len(await ours().up()) == 3
    assert await theirs("version") == (0, "3")
    assert await theirs("up") == (0, "no change")


async def test_they_take_turns_up_and_down(theirs: Theirs, ours: Ours) -> None:
    assert (await theirs("up", "1"))[0] == 0
    assert len(await ours().goto(2)) == 1
    assert (await theirs("goto", "3"))[0] == 0
    assert len(await ours().down(1)) == 1
    assert await theirs("version") == (0, "2")
    assert (await theirs("down", "1"))[0] == 0
    assert await ours().state() == MigrationState(1)
    assert len(await ours().up()) == 2
    assert (await theirs("down", "-all"))[0] == 0
    assert await ours().state() == MigrationState(None)
    assert await ours.dump() == []
    await ours().up(1)
    await ours().down()
    assert await theirs("version") == (1, "error: no migration")


async def test_a_forced_version_is_seen_both_ways(theirs: Theirs, ours: Ours) -> None:
    assert (await theirs("force", "2"))[0] == 0
    assert await ours().state() == MigrationState(2)
    await ours().force(7)
    assert await theirs("version") == (0, "7")
    await ours().force(None)
    assert await theirs("version") == (1, "error: no migration")
    await ours().force(2)
    assert (await theirs("force", "--", "-1"))[0] == 0
    assert await ours().state() == MigrationState(None)


async def test_their_failure_is_dirty_for_ours(theirs: Theirs, ours: Ours) -> None:
    (ours.folder / "000002_b.up.sql").write_text(BROKEN, encoding="utf-8")
    code, said = await theirs("up")
    assert (code, "nope" in said) == (1, True)
    assert await ours().state() == MigrationState(2, dirty=True)
    with pytest.raises(DirtyDatabase):
        await ours().up()
    await ours().force(1)
    assert await theirs("version") == (0, "1")


async def test_our_failure_is_dirty_for_theirs(theirs: Theirs, ours: Ours) -> None:
    (ours.folder / "000002_b.up.sql").write_text(BROKEN, encoding="utf-8")
    with pytest.raises(MigrationFailed):
        await ours().up()
    assert await theirs("version") == (0, "2 (dirty)")
    code, said = await theirs("up")
    assert (code, said) == (1, "error: Dirty database version 2. Fix and force version.")
    assert (await theirs("force", "1"))[0] == 0
    assert await ours().state() == MigrationState(1)


FAILURES: dict[str, Callable[[Path], None]] = {
    "a failed statement": lambda folder: write(folder, "000002_b.up.sql", BROKEN),
    "a syntax error": lambda folder: write(folder, "000001_a.up.sql", "SELEC 1"),
    "an open transaction": lambda folder: write(folder, "000002_b.up.sql", "BEGIN; SELECT 1"),
    "a failure inside a transaction": lambda folder: write(
        folder, "000002_b.up.sql", "BEGIN; CREATE TABLE c (); SELECT 1/0; COMMIT"
    ),
    "a failure after a commit": lambda folder: write(
        folder, "000002_b.up.sql", "BEGIN; CREATE TABLE c (); COMMIT; SELECT 1/0"
    ),
    "an index that is not alone": lambda folder: write(
        folder, "000003_i.up.sql", "SELECT 1; CREATE INDEX CONCURRENTLY i ON a (id)"
    ),
}


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


TABLES = "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'i')"
OF_PUBLIC = f"{TABLES} AND relnamespace = 'public'::regnamespace"
START_AGAIN = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


@pytest.mark.parametrize("spoil", FAILURES.values(), ids=FAILURES)
async def test_a_failure_leaves_what_theirs_leaves(
    theirs: Theirs, ours: Ours, spoil: Callable[[Path], None]
) -> None:
    spoil(ours.folder)
    assert (await theirs("up"))[0] == 1
    left = (await ours.dump(), await ours.connection.fetchval(OF_PUBLIC))
    await ours.connection.execute(START_AGAIN)
    with pytest.raises(MigrationFailed):
        await ours().up()
    assert (await ours.dump(), await ours.connection.fetchval(OF_PUBLIC)) == left


async def test_a_failed_first_step_down_leaves_what_theirs_leaves(
    theirs: Theirs, ours: Ours
) -> None:
    write(ours.folder, "000001_a.down.sql", "DROP TABLE nope")
    assert (await theirs("up", "1"))[0] == 0
    assert (await theirs("down", "1"))[0] == 1
    left = await ours.dump()
    await ours().force(1)
    with pytest.raises(MigrationFailed):
        await ours().down(1)
    assert await ours.dump() == left == [(-1, True)]


async def test_ours_waits_for_theirs_and_says_who_has_the_lock(
    theirs: Theirs, ours: Ours, database: str
) -> None:
    write(
        ours.folder,
        "000001_a.up.sql",
        f"SELECT pg_advisory_xact_lock({GATE}); CREATE TABLE a (id int)",
    )
    gate = await asyncpg.connect(database)
    await gate.execute(f"SELECT pg_advisory_lock({GATE})")
    process = await theirs.start("up")
    await until(gate, AT_GATE)
    with pytest.raises(LockTimeout, match=r"pid \d+ \(user postgres.* has it"):
        await ours(lock_timeout=0.05).up()
    waiting = asyncio.create_task(ours().up())
    await gate.execute(f"SELECT pg_advisory_unlock({GATE})")
    await process.communicate()
    assert process.returncode == 0
    assert await waiting == ()
    await gate.close()


async def test_theirs_waits_for_ours(theirs: Theirs, ours: Ours, database: str) -> None:
    write(
        ours.folder,
        "000001_a.up.sql",
        f"SELECT pg_advisory_xact_lock({GATE}); CREATE TABLE a (id int)",
    )
    write(ours.folder, "000003_i.up.sql", "CREATE INDEX i ON a (id)")
    gate = await asyncpg.connect(database)
    await gate.execute(f"SELECT pg_advisory_lock({GATE})")
    running = asyncio.create_task(ours().up())
    await until(gate, AT_GATE)
    process = await theirs.start("up")
    await until(gate, WAITS_FOR_LOCK)
    await gate.execute(f"SELECT pg_advisory_unlock({GATE})")
    output, _ = await process.communicate()
    assert (process.returncode, output.decode().strip()) == (0, "no change")
    assert len(await running) == 3
    await gate.close()


async def test_four_of_each_at_once_apply_each_migration_once(
    theirs: Theirs, ours: Ours, database: str
) -> None:
    for number in range(4, 12):
        write(
            ours.folder,
            f"{number:06d}_more.up.sql",
            "INSERT INTO a SELECT max(id) + 1 FROM a",
        )
    write(ours.folder, "000003_i.up.sql", "CREATE INDEX i ON a (id)")
    connections = [await asyncpg.connect(database) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        of_theirs = [group.create_task(theirs("up")) for _ in range(4)]
        of_ours = [
            group.create_task(Migrator(each, read_source(ours.folder)).up()) for each in connections
        ]
    assert [task.result()[0] for task in of_theirs] == [0, 0, 0, 0]
    applied = sum(len(task.result()) for task in of_ours)
    applied += sum(task.result()[1].count("/u ") for task in of_theirs)
    assert applied == 11
    assert await ours.connection.fetchval("SELECT array_agg(id ORDER BY id) FROM a") == [
        *range(1, 10),
    ]
    for each in connections:
        await each.close()
