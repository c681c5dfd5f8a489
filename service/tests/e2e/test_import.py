"""``myservice records``, killed in the middle and run again, through the command line."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import asyncpg
import pytest
from service_process import MYSERVICE, PATIENCE, environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
LINES, BAD = 40_000, 777


def command(*words: str | Path, dsn: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [MYSERVICE, "records", *words], env=environment(APP_DATABASE_URL=dsn),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


async def count(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM records"))


async def test_an_import_that_is_killed_loses_and_doubles_nothing(
    migrated: str, tmp_path: Path
) -> None:
    file = tmp_path / "records.ndjson"
    lines = [f'{{"name": "record {n}"}}' if n % BAD else "{oops" for n in range(1, LINES + 1)]
    file.write_text("\n".join(lines) + "\n")
    rejected = LINES // BAD
    connection = await asyncpg.connect(migrated)
    try:
        first = command("import", file, dsn=migrated)
        deadline = time.monotonic() + PATIENCE
        while await count(connection) == 0:
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < deadline
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=PATIENCE)
        assert 0 < await count(connection) < LINES - rejected

        second = command("import", file, dsn=migrated)
        _, said = second.communicate(timeout=PATIENCE)
        assert second.returncode == 1, said
        assert "going on behind" in said
        assert f"{LINES:,} lines, {LINES - rejected:,} records, {rejected} rejected" in said
        assert await count(connection) == LINES - rejected
        distinct = await connection.fetchval("SELECT count(DISTINCT name) FROM records")
        assert distinct == LINES - rejected
    finally:
        await connection.close()
    kept = file.with_name("records.ndjson.rejects").read_text().splitlines()
    rejects = [json.loads(line) for line in kept]
    assert [reject["line"] for reject in rejects] == list(range(BAD, LINES + 1, BAD))
    assert rejects[0]["content"] == "{oops"

    third = command("import", file, dsn=migrated)
    _, said = third.communicate(timeout=PATIENCE)
    assert (third.returncode, "was imported already" in said) == (1, True)

    out = tmp_path / "all.csv"
    export = await asyncio.to_thread(command("export", out, dsn=migrated).communicate)
    assert f"{LINES - rejected:,} records exported" in export[1]
    assert out.read_text().count("\n") == LINES - rejected + 1


def test_a_file_of_no_known_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "records.txt"
    file.touch()
    run = command("import", file, dsn="postgresql://nobody@127.0.0.1:1/none")
    _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 2
    assert "--format ndjson" in said
