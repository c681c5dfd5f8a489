"""The command line on a real database: what it prints, and its exit codes."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from gated_migration import AT_GATE, WAIT_AT_GATE, close_gate, open_gate, until
from typer.testing import CliRunner

from paceline.commands.migrate import DatabaseOptions, migrator_commands
from paceline.postgres.migrate import Migrator, Progress, read_source

pytestmark = pytest.mark.integration

MAIN = """
import sys
from contextlib import asynccontextmanager
from pathlib import Path
import asyncpg
from paceline.postgres.migrate import Migrator, read_source
from paceline.commands.migrate import migrator_commands

dsn, folder = sys.argv.pop(1), Path(sys.argv.pop(1))

@asynccontextmanager
async def connected(progress, options):
    connection = await asyncpg.connect(dsn)
    try:
        yield Migrator(connection, read_source(folder), progress=progress)
    finally:
        await connection.close()

migrator_commands(connected, lambda: folder)()
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "000001_create_records.up.sql": "CREATE TABLE records (id int);",
        "000001_create_records.down.sql": "DROP TABLE records;",
        "000002_gate.up.sql": WAIT_AT_GATE,
        "000002_gate.down.sql": "SELECT 1",
        "000003_broken.up.sql": "SELECT 1;\nSELECT\n  nope;",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(database: str, folder: Path) -> Run:
    @asynccontextmanager
    async def connected(
        progress: Progress, options: DatabaseOptions
    ) -> AsyncGenerator[Migrator, None]:
        connection = await asyncpg.connect(database)
        try:
            yield Migrator(connection, read_source(folder), progress=progress, lock_timeout=0.05)
        finally:
            await connection.close()

    app = migrator_commands(connected, lambda: folder)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stdout, result.stderr

    return invoke


def test_a_session_at_the_command_line(run: Run) -> None:
    assert run("version") == (0, "no version\n", "")
    code, out, _ = run("up", "1")
    assert code == 0
    assert out.startswith("000001/u create_records (")
    assert out.endswith("ms)\n")
    assert run("version") == (0, "1\n", "")
    assert run("up", "0") == (0, "no change\n", "")
    assert run("goto", "1") == (0, "no change\n", "")
    assert run("goto", "2")[0] == 0
    code, out, _ = run("down", "--all")
    assert [line.split(" (")[0] for line in out.splitlines()] == [
        "000002/d gate",
        "000001/d create_records",
    ]
    assert run("down", "--all") == (0, "no change\n", "")
    assert run("force", "2") == (0, "", "")
    assert run("version") == (0, "2\n", "")
    assert run("force", "-1") == (0, "", "")
    assert run("version") == (0, "no version\n", "")


def test_a_failure_is_printed_with_how_to_repair_it(run: Run) -> None:
    code, out, err = run("up")
    assert code == 1
    assert len(out.splitlines()) == 2
    assert err == (
        "error: migration 000003_broken.up.sql failed at statement 2 of 2, line 3, column 3\n"
        "  statement 2 (line 2): SELECT\n"
        '  42703: column "nope" does not exist\n'
        "  the database is left dirty at 000003: repair by hand, then: migrate force V\n"
    )
    assert run("version") == (0, "3 (dirty)\n", "")
    code, out, err = run("up")
    assert (code, out) == (1, "")
    assert "dirty at version 000003" in err
    assert "migrate force V" in err


def test_an_error_of_the_server_outside_a_file_is_printed_too(
    run: Run, database: str, folder: Path
) -> None:
    async def forbid() -> None:
        connection = await asyncpg.connect(database)
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await connection.close()

    asyncio.run(forbid())
    code, out, err = run("up")
    assert (code, out) == (1, "")
    assert err == "error: cannot execute CREATE TABLE in a read-only transaction\n"


def test_a_missing_down_file_is_an_error_when_it_is_needed(run: Run) -> None:
    run("force", "3")
    code, _, err = run("down", "1")
    assert code == 1
    assert "it needs 000003_broken.down.sql" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_the_first_interrupt_lets_the_running_migration_finish(
    database: str, folder: Path, number: signal.Signals
) -> None:
    code, out, err = asyncio.run(interrupted(database, folder, number))
    assert code == 1
    assert [line.split(" (")[0] for line in out.splitlines()] == [
        "000001/u create_records",
        "000002/u gate",
    ]
    assert err.splitlines() == [
        "stopping after the running migration; again to cancel it",
        "error: stopped at version 000002 as asked: 1 migration not applied",
    ]


def test_the_second_interrupt_cancels_it(database: str, folder: Path) -> None:
    code, _, err = asyncio.run(interrupted(database, folder, signal.SIGINT, twice=True))
    assert code == 130
    assert err.splitlines()[1:] == ["error: interrupted; see: migrate version"]


async def interrupted(
    dsn: str, folder: Path, number: signal.Signals, *, twice: bool = False
) -> tuple[int | None, str, str]:
    """Interrupt ``up`` while its second migration waits at the gate."""
    gate = await asyncpg.connect(dsn)
    await close_gate(gate)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", MAIN, dsn, str(folder), "up"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            await until(gate, AT_GATE)
            process.send_signal(number)
            heard = await process.stderr.readline() if process.stderr else b""
            if twice:
                process.send_signal(number)
            else:
                await open_gate(gate)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await gate.close()
    return process.returncode, out.decode(), (heard + err).decode()
