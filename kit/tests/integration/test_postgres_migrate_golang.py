"""The kit's migrator and golang-migrate's command line on one database, in turn and at once."""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from external_tools import go_tool
from gated_migration import AT_GATE, GATE, WAIT_AT_GATE, close_gate, open_gate, until

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
class GolangMigrate:
    """Its command line, on the test's database and folder."""

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
class KitMigrator:
    """The kit's migrator, on a connection of its own."""

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
def golang(binary: Path, folder: Path, database: str) -> GolangMigrate:
    return GolangMigrate(binary, folder, database)


@pytest.fixture
async def kit(folder: Path, database: str) -> AsyncGenerator[KitMigrator, None]:
    connection = await asyncpg.connect(database)
    yield KitMigrator(connection, folder)
    await connection.close()


WAITS_FOR_LOCK = (
    f"EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid <> {GATE} AND NOT granted)"
)


async def test_the_kit_sees_what_golang_migrate_applied(
    golang: GolangMigrate, kit: KitMigrator
) -> None:
    assert (await golang("up"))[0] == 0
    assert await kit().state() == MigrationState(3)
    assert await kit().up() == ()


async def test_golang_migrate_sees_what_the_kit_applied(
    golang: GolangMigrate, kit: KitMigrator
) -> None:
    assert len(await kit().up()) == 3
    assert await golang("version") == (0, "3")
    assert await golang("up") == (0, "no change")


async def test_both_take_turns_up_and_down(golang: GolangMigrate, kit: KitMigrator) -> None:
    assert (await golang("up", "1"))[0] == 0
    assert len(await kit().goto(2)) == 1
    assert (await golang("goto", "3"))[0] == 0
    assert len(await kit().down(1)) == 1
    assert await golang("version") == (0, "2")
    assert (await golang("down", "1"))[0] == 0
    assert await kit().state() == MigrationState(1)
    assert len(await kit().up()) == 2
    assert (await golang("down", "-all"))[0] == 0
    assert await kit().state() == MigrationState(None)
    assert await kit.dump() == []
    await kit().up(1)
    await kit().down()
    assert await golang("version") == (1, "error: no migration")


async def test_a_forced_version_is_seen_by_the_other(
    golang: GolangMigrate, kit: KitMigrator
) -> None:
    assert (await golang("force", "2"))[0] == 0
    assert await kit().state() == MigrationState(2)
    await kit().force(7)
    assert await golang("version") == (0, "7")
    await kit().force(None)
    assert await golang("version") == (1, "error: no migration")
    await kit().force(2)
    assert (await golang("force", "--", "-1"))[0] == 0
    assert await kit().state() == MigrationState(None)


async def test_a_failure_of_golang_migrate_is_dirty_for_the_kit(
    golang: GolangMigrate, kit: KitMigrator
) -> None:
    (kit.folder / "000002_b.up.sql").write_text(BROKEN, encoding="utf-8")
    code, said = await golang("up")
    assert (code, "nope" in said) == (1, True)
    assert await kit().state() == MigrationState(2, dirty=True)
    with pytest.raises(DirtyDatabase):
        await kit().up()
    await kit().force(1)
    assert await golang("version") == (0, "1")


async def test_a_failure_of_the_kit_is_dirty_for_golang_migrate(
    golang: GolangMigrate, kit: KitMigrator
) -> None:
    (kit.folder / "000002_b.up.sql").write_text(BROKEN, encoding="utf-8")
    with pytest.raises(MigrationFailed):
        await kit().up()
    assert await golang("version") == (0, "2 (dirty)")
    code, said = await golang("up")
    assert (code, said) == (1, "error: Dirty database version 2. Fix and force version.")
    assert (await golang("force", "1"))[0] == 0
    assert await kit().state() == MigrationState(1)


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
async def test_a_failure_leaves_the_same_state_as_golang_migrates(
    golang: GolangMigrate, kit: KitMigrator, spoil: Callable[[Path], None]
) -> None:
    spoil(kit.folder)
    assert (await golang("up"))[0] == 1
    left = (await kit.dump(), await kit.connection.fetchval(OF_PUBLIC))
    await kit.connection.execute(START_AGAIN)
    with pytest.raises(MigrationFailed):
        await kit().up()
    assert (await kit.dump(), await kit.connection.fetchval(OF_PUBLIC)) == left


async def test_a_failed_first_step_down_leaves_the_same_state_as_golang_migrates(
    golang: GolangMigrate, kit: KitMigrator
) -> None:
    write(kit.folder, "000001_a.down.sql", "DROP TABLE nope")
    assert (await golang("up", "1"))[0] == 0
    assert (await golang("down", "1"))[0] == 1
    left = await kit.dump()
    await kit().force(1)
    with pytest.raises(MigrationFailed):
        await kit().down(1)
    assert await kit.dump() == left == [(-1, True)]


async def test_the_kit_waits_for_golang_migrate_and_names_the_holder_of_the_lock(
    golang: GolangMigrate, kit: KitMigrator, database: str
) -> None:
    write(
        kit.folder,
        "000001_a.up.sql",
        f"{WAIT_AT_GATE} CREATE TABLE a (id int)",
    )
    gate = await asyncpg.connect(database)
    await close_gate(gate)
    process = await golang.start("up")
    await until(gate, AT_GATE)
    with pytest.raises(LockTimeout, match=r"pid \d+ \(user postgres.* has it"):
        await kit(lock_timeout=0.05).up()
    waiting = asyncio.create_task(kit().up())
    await open_gate(gate)
    await process.communicate()
    assert process.returncode == 0
    assert await waiting == ()
    await gate.close()


async def test_golang_migrate_waits_for_the_kit(
    golang: GolangMigrate, kit: KitMigrator, database: str
) -> None:
    write(
        kit.folder,
        "000001_a.up.sql",
        f"{WAIT_AT_GATE} CREATE TABLE a (id int)",
    )
    write(kit.folder, "000003_i.up.sql", "CREATE INDEX i ON a (id)")
    gate = await asyncpg.connect(database)
    await close_gate(gate)
    running = asyncio.create_task(kit().up())
    await until(gate, AT_GATE)
    process = await golang.start("up")
    await until(gate, WAITS_FOR_LOCK)
    await open_gate(gate)
    output, _ = await process.communicate()
    assert (process.returncode, output.decode().strip()) == (0, "no change")
    assert len(await running) == 3
    await gate.close()


async def test_four_of_each_at_once_apply_each_migration_once(
    golang: GolangMigrate, kit: KitMigrator, database: str
) -> None:
    for number in range(4, 12):
        write(
            kit.folder,
            f"{number:06d}_more.up.sql",
            "INSERT INTO a SELECT max(id) + 1 FROM a",
        )
    write(kit.folder, "000003_i.up.sql", "CREATE INDEX i ON a (id)")
    connections = [await asyncpg.connect(database) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        of_theirs = [group.create_task(golang("up")) for _ in range(4)]
        of_ours = [
            group.create_task(Migrator(each, read_source(kit.folder)).up()) for each in connections
        ]
    assert [task.result()[0] for task in of_theirs] == [0, 0, 0, 0]
    applied = sum(len(task.result()) for task in of_ours)
    applied += sum(task.result()[1].count("/u ") for task in of_theirs)
    assert applied == 11
    assert await kit.connection.fetchval("SELECT array_agg(id ORDER BY id) FROM a") == [
        *range(1, 10),
    ]
    for each in connections:
        await each.close()
