"""Stale processes and lock files, recognised by arguments, titles and pids."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.engines import EngineError
from paceline.engines.stale import (
    PostgresProcess,
    cluster_mark,
    find_processes,
    remove_stale_locks,
    stop_stale_processes,
)

SERVER = (
    b"/opt/bin/postgres\0-c\0cluster_name=paceline-1a2b\0-c\0paceline.parent=77\0-c\0port=5432\0"
)
BACKEND = b"postgres: paceline-1a2b: postgres app [local] idle\0"


@dataclass(frozen=True)
class Title:
    id: str
    title: bytes
    mark: str | None
    backend: bool


@pytest.mark.parametrize(
    "case",
    [
        Title("a server of ours", SERVER, "paceline-1a2b", backend=False),
        Title("its child", BACKEND, "paceline-1a2b", backend=True),
        Title("somebody's server", b"/usr/bin/postgres\0-D\0/srv\0", None, backend=False),
        Title("its child", b"postgres: checkpointer \0", None, backend=True),
        Title(
            "a user called like a mark",
            b"postgres: paceline-1a2b app [local] idle\0",
            None,
            backend=True,
        ),
        Title("a server named by hand", b"postgres\0-c\0cluster_name=main\0", None, backend=False),
        Title(
            "a mark in another argument",
            b"postgres\0-x\0xcluster_name=paceline-1a2b\0",
            None,
            backend=False,
        ),
    ],
    ids=lambda case: case.id,
)
def test_a_process_is_recognised_by_its_title(case: Title) -> None:
    process = PostgresProcess(1, 2, case.title)
    assert (process.mark, process.backend) == (case.mark, case.backend)


def test_a_server_has_its_parent_only_while_that_is_the_process_that_started_it() -> None:
    assert PostgresProcess(100, 77, SERVER).has_parent
    assert not PostgresProcess(100, 1, SERVER).has_parent
    assert not PostgresProcess(100, 7, SERVER).has_parent
    assert not PostgresProcess(101, 100, BACKEND).has_parent


def test_a_mark_belongs_to_one_folder_and_moves_with_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mark = cluster_mark(tmp_path / "a")
    assert mark != cluster_mark(tmp_path / "b")
    (tmp_path / "a").rename(tmp_path / "c")
    assert cluster_mark(tmp_path / "c") == mark
    assert PostgresProcess(1, 2, b"postgres\0cluster_name=%s\0" % mark.encode()).mark == mark


def run_as_postgres(
    folder: Path, program: str, *words: str, cwd: Path | None = None, stdin: int | None = None
) -> subprocess.Popen[bytes]:
    """Run ``program`` under the name of PostgreSQL's, with any arguments, the first included."""
    (folder / "postgres").symlink_to(program)
    process = subprocess.Popen(words, executable=folder / "postgres", cwd=cwd, stdin=stdin)
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # the very moment of its birth
        os.sched_yield()
    return process


def lock_in(folder: Path, name: str, pid: int) -> Path:
    file = folder / name
    file.write_text(f"{pid}\n{folder}\n")
    return file


@pytest.mark.parametrize("name", ["postmaster.pid", ".s.PGSQL.5432.lock"])
def test_a_lock_file_of_an_unrelated_live_process_is_removed(name: str, tmp_path: Path) -> None:
    file = lock_in(tmp_path, name, os.getpid())
    assert remove_stale_locks(tmp_path) == [(name, os.getpid())]
    assert not file.exists()


def test_a_lock_file_of_a_dead_process_is_left_to_postgresql(tmp_path: Path) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    file = lock_in(tmp_path, "postmaster.pid", ended.pid)
    assert remove_stale_locks(tmp_path) == []
    assert file.exists()


@pytest.mark.parametrize("text", ["", "no number\n", "\n\n"])
def test_a_damaged_lock_file_is_left_to_postgresql(text: str, tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(text)
    assert remove_stale_locks(tmp_path) == []


@pytest.mark.parametrize("here", [True, False], ids=["in this folder", "in another"])
def test_a_lock_file_is_kept_while_another_server_uses_the_folder(
    *, here: bool, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    folder = tmp_path if here else tmp_path / "other"
    process = run_as_postgres(tmp_path, "/bin/sleep", "postgres", "60", cwd=tmp_path)
    file = lock_in(folder, "postmaster.pid", process.pid)
    try:
        if here:
            with pytest.raises(EngineError, match=rf"not started here \(process {process.pid}\)"):
                remove_stale_locks(folder)
        else:
            assert remove_stale_locks(folder) == [("postmaster.pid", process.pid)]
        assert file.exists() is here
    finally:
        process.kill()
        process.wait()


async def test_without_stale_processes_nothing_is_reported(tmp_path: Path) -> None:
    reported: list[list[int]] = []
    await stop_stale_processes(tmp_path, reported.append)
    assert reported == []
    assert find_processes(cluster_mark(tmp_path)) == []


async def test_a_stale_backend_is_ended_and_its_pid_reported(tmp_path: Path) -> None:
    title = f"postgres: {cluster_mark(tmp_path)}: busy"
    process = run_as_postgres(tmp_path, "/bin/sleep", title, "60")
    reported: list[list[int]] = []

    await stop_stale_processes(tmp_path, reported.append)

    assert reported == [[process.pid]]
    assert process.wait() == -signal.SIGTERM


async def test_a_server_whose_parent_is_alive_is_left_alone(tmp_path: Path) -> None:
    # A shell waits for its input and takes a server's arguments for its own.
    words = (
        "-c",
        "read x",
        f"cluster_name={cluster_mark(tmp_path)}",
        f"paceline.parent={os.getpid()}",
    )
    process = run_as_postgres(tmp_path, "/bin/sh", "postgres", *words, stdin=subprocess.PIPE)
    try:
        with pytest.raises(EngineError, match=f"started by process {os.getpid()}: stop that"):
            await stop_stale_processes(tmp_path, print)
        assert process.poll() is None
    finally:
        process.communicate()
