"""Servers that outlived their parent, and lock files whose process is no longer theirs.

A server that was just told to go needs a moment; a busy backend outlives a killed server and its
shared memory blocks the next start; a pid file may name a process that has since got the number.
Our servers carry a `mark` of their folder in arguments and titles, which everybody may read:
``/proc/PID/exe`` and ``cwd`` would say more, but root in a container may not look at those of
another account. Invariant: what carries another mark or none, or has its parent, is not touched.
Linux only: elsewhere nothing is found and nothing removed. Called by ``postgres`` while it holds
the folder's lock.
"""

import asyncio
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paceline.engines.errors import EngineError

PARENT: Final = "paceline.parent"
"""Setting that names the process which started the server."""

_PROC: Final = Path("/proc")
_TITLE: Final = b"postgres: "
_POLL: Final = 0.01
_LADDER: Final = (
    # The first is the polite one: SIGINT makes a server stop fast, SIGTERM a backend.
    (signal.SIGINT, signal.SIGTERM, 10.0),
    (signal.SIGQUIT, signal.SIGQUIT, 6.0),
    (signal.SIGKILL, signal.SIGKILL, 5.0),
)


@dataclass(frozen=True, slots=True)
class Process:
    """A running PostgreSQL process: a server, or one of a server's children (``backend``)."""

    pid: int
    parent: int
    title: bytes

    @property
    def backend(self) -> bool:
        """Whether it has a title, which a server does not give itself."""
        return self.title.startswith(_TITLE)

    @property
    def mark(self) -> str | None:
        """Whose folder it works in, None when it is not a server of ours."""
        found = re.search(rb"(?:^postgres: |\0cluster_name=)(paceline-[0-9a-f]+)[:\0]", self.title)
        return found[1].decode() if found else None

    @property
    def has_parent(self) -> bool:
        """Whether the process that started this server still looks after it."""
        return f"\0{PARENT}={self.parent}\0".encode() in self.title


def mark_of(folder: Path) -> str:
    """What servers in ``folder`` carry as their cluster name; stays when the folder is moved."""
    status = folder.stat()
    return f"paceline-{status.st_dev:x}{status.st_ino:08x}"


def find_processes(mark: str) -> list[Process]:
    """Who carries the mark."""
    pids = (int(entry.name) for entry in _PROC.glob("[0-9]*"))
    processes = (_find_process(pid) for pid in pids)
    return [process for process in processes if process is not None and process.mark == mark]


async def stop_leftovers(folder: Path, tell: Callable[[list[int]], object]) -> None:
    """End what is left running in ``folder``; ``tell`` gets the pids before.

    Errors: `EngineError` when a server runs there whose parent lives, or one that will not end.
    """
    mark = mark_of(folder)
    found = find_processes(mark)
    for process in found:
        if process.has_parent:
            message = (
                f"PostgreSQL (process {process.pid}) runs in {folder}, started by process "
                f"{process.parent}: stop that one first"
            )
            raise EngineError(message)
    if not found:
        return
    tell([process.pid for process in found])
    for for_server, for_backend, seconds in _LADDER:
        pids = {process.pid for process in found}
        for process in found:
            if process.parent not in pids:  # a server's children are the server's to stop
                _send(process.pid, for_backend if process.backend else for_server)
        found = await _left_after(seconds, mark)
        if not found:
            return
    pids = {process.pid for process in found}
    message = f"left-over PostgreSQL processes {sorted(pids)} in {folder} do not end"
    raise EngineError(message)


def remove_stale_locks(folder: Path) -> list[tuple[str, int]]:
    """Remove PostgreSQL's lock files that name a living process which does not work here.

    PostgreSQL would refuse to start. One that names nobody alive is left to PostgreSQL itself.
    Returns name and pid of each. To be called after `stop_leftovers`.
    Errors: `EngineError` when the process is a PostgreSQL server and not one of ours.
    """
    removed: list[tuple[str, int]] = []
    if not _PROC.joinpath("self", "stat").exists():
        return removed
    for file in (folder / "postmaster.pid", *folder.glob(".s.PGSQL.*.lock")):
        pid = _read_pid(file)
        if pid is None or not _PROC.joinpath(str(pid)).exists():
            continue
        process = _find_process(pid)
        if process is not None and process.mark is None and not _works_elsewhere(pid, folder):
            message = (
                f"a PostgreSQL server that was not started here (process {pid}) seems to run in "
                f"{folder}: stop it first"
            )
            raise EngineError(message)
        file.unlink()
        removed.append((file.name, pid))
    return removed


def _read_pid(file: Path) -> int | None:
    try:
        return abs(int(file.read_text(encoding="ascii").partition("\n")[0]))
    except (FileNotFoundError, ValueError):
        return None


def _find_process(pid: int) -> Process | None:
    process = _PROC / str(pid)
    try:
        title = (process / "cmdline").read_bytes()
        # "pid (name) state parent …", where the name may hold anything.
        head, _, rest = (process / "stat").read_text("utf-8", "replace").rpartition(")")
    except OSError:  # it ended meanwhile
        return None
    name = head.partition("(")[2]
    return Process(pid, int(rest.split()[1]), title) if name == "postgres" and title else None


def _works_elsewhere(pid: int, folder: Path) -> bool:
    """Whether it is certain that a server has another folder; its working folder is its data."""
    try:
        return not (_PROC / str(pid) / "cwd").samefile(folder)
    except OSError:  # not ours to see
        return False


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as exc:
        message = f"a left-over PostgreSQL (process {pid}) belongs to another account: stop it"
        raise EngineError(message) from exc


async def _left_after(seconds: float, mark: str) -> list[Process]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    found = find_processes(mark)
    while found and loop.time() < end:
        await asyncio.sleep(_POLL)
        found = find_processes(mark)
    return found
