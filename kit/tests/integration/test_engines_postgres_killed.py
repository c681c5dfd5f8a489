"""``kill -9`` of the process that runs the embedded PostgreSQL: no orphan is left, no row is lost."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from paceline.engines import PostgresEngine
from paceline.engines.account import Account, find_inaccessible_part
from paceline.engines.stale import cluster_mark, find_processes
from paceline.postgres.connector import connect
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[1] / "tools" / "postgres_writer.py"
NOBODY = Account("nobody", 65534, 65534)


@dataclass(frozen=True)
class Writer:
    process: subprocess.Popen[str]
    output: IO[str]

    def kill_after(self, rows: int) -> int:
        """Kill it when that many rows of its own are acknowledged; the last one that was."""
        word, _, before = self.output.readline().partition(" ")
        assert word == "up"
        last = int(before)
        while last < int(before) + rows:
            last = int(self.output.readline())
        self.process.kill()
        # A line that was cut off was not said.
        said = [int(line) for line in self.output if line.endswith("\n")]
        return max([last, *said])


@contextmanager
def killed_writer(folder: Path, *, command: Sequence[str] = (sys.executable,)) -> Generator[Writer]:
    """A process that runs a server on the folder and writes; killed at the end of the block."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [*command, str(SCRIPT), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "starting\n"
            yield Writer(process, process.stdout)
        finally:
            process.kill()


def wait_until_gone(cluster: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while processes := find_processes(cluster_mark(cluster)):
        assert time.monotonic() < end, processes
        os.sched_yield()


async def rows_in(data_dir: Path) -> int:
    engine = PostgresEngine(RecordingLog(), data_dir=data_dir)
    await engine.start()
    try:
        connection = await connect(engine.dsn())
        count: int = await connection.fetchval("SELECT count(*) FROM t")
        await connection.close()
    finally:
        await engine.stop()
    return count


def test_no_process_is_left_and_every_acknowledged_row_is_there(tmp_path: Path) -> None:
    for rows in (1, 40, 300):
        with killed_writer(tmp_path) as writer:
            acknowledged = writer.kill_after(rows)
        wait_until_gone(tmp_path / "cluster", seconds=5)
        assert asyncio.run(rows_in(tmp_path)) >= acknowledged


def test_a_start_right_after_the_kill_waits_for_the_old_server(tmp_path: Path) -> None:
    for _ in range(3):
        with killed_writer(tmp_path) as writer:
            acknowledged = writer.kill_after(5)
        assert asyncio.run(rows_in(tmp_path)) >= acknowledged


def test_a_start_after_a_killed_first_start_works(tmp_path: Path) -> None:
    with killed_writer(tmp_path) as writer:
        while not list(tmp_path.glob("cluster.new-*/global")):
            assert writer.process.poll() is None
    assert not (tmp_path / "cluster").exists()
    with killed_writer(tmp_path) as writer:
        assert writer.kill_after(1) >= 1
    assert not list(tmp_path.glob("cluster.new-*"))
    wait_until_gone(tmp_path / "cluster", seconds=5)


@pytest.fixture
def folder_of_nobody() -> Generator[Path]:
    """A folder that ``nobody`` owns and can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chown(name, NOBODY.uid, NOBODY.gid)
        yield Path(name)


def python_for_nobody() -> str | None:
    version = f"python3.{sys.version_info.minor}"
    for name in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        if Path(name).exists() and find_inaccessible_part(Path(name), NOBODY) is None:
            return name
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an ordinary user anyway")
def test_an_ordinary_user_runs_the_server_under_their_own_account(folder_of_nobody: Path) -> None:
    python, setpriv = python_for_nobody(), shutil.which("setpriv")
    if python is None or setpriv is None:
        pytest.skip("no Python here that an ordinary user could run")
    ids = (f"--reuid={NOBODY.uid}", f"--regid={NOBODY.gid}", "--clear-groups")
    data = folder_of_nobody / "data"
    for before in (0, 5):
        with killed_writer(data, command=(setpriv, *ids, python)) as writer:
            assert writer.kill_after(5) >= before + 5
        assert (data / "cluster").stat().st_uid == NOBODY.uid
        wait_until_gone(data / "cluster", seconds=5)
