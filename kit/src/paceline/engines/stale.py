"""PostgreSQL processes that outlived their parent, and lock files with the pid of another process.

A server that was just signalled needs a moment to end; a busy backend outlives a killed server and
its shared memory blocks the next start; the pid in a pid file may since have been reused. Servers
carry a mark of their folder in arguments and titles, which every account may read:
``/proc/PID/exe`` and ``cwd`` would say more, but root in a container may not read those of another
account. Invariant: a process with another mark, without one, or whose parent is alive is left
alone. To be used while holding the folder's lock. Linux only: elsewhere nothing is found and
nothing removed.
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

PARENT_SETTING: Final = "paceline.parent"
"""The server setting that holds the pid of the process that started it."""

_PROC: Final = Path("/proc")
_TITLE: Final = b"postgres: "
_POLL: Final = 0.01
_STOP_SIGNALS: Final = (
    # For a server, for a backend, seconds: first SIGINT, a server's fast shutdown.
    (signal.SIGINT, signal.SIGTERM, 10.0),
    (signal.SIGQUIT, signal.SIGQUIT, 6.0),
    (signal.SIGKILL, signal.SIGKILL, 5.0),
)


@dataclass(frozen=True, slots=True)
class PostgresProcess:
    """A running PostgreSQL process: a server, or one of a server's children (``backend``)."""

    pid: int
    parent: int
    title: bytes

    @property
    def backend(self) -> bool:
        """Whether it is a backend: only those change their title."""
        return self.title.startswith(_TITLE)

    @property
    def mark(self) -> str | None:
        """The mark of its folder, None for a server that was started elsewhere."""
        found = re.search(rb"(?:^postgres: |\0cluster_name=)(paceline-[0-9a-f]+)[:\0]", self.title)
        return found[1].decode() if found else None

    @property
    def has_parent(self) -> bool:
        """Whether the process that started this server is still its parent."""
        return f"\0{PARENT_SETTING}={self.parent}\0".encode() in self.title


def cluster_mark(folder: Path) -> str:
    """The cluster name of servers in ``folder``; the same after the folder is moved."""
    status = folder.stat()
    return f"paceline-{status.st_dev:x}{status.st_ino:08x}"


def find_processes(mark: str) -> list[PostgresProcess]:
    """The processes with this mark."""
    pids = (int(entry.name) for entry in _PROC.glob("[0-9]*"))
    processes = (_find_process(pid) for pid in pids)
    return [process for process in processes if process is not None and process.mark == mark]


async def stop_stale_processes(folder: Path, on_found: Callable[[list[int]], object]) -> None:
    """End the stale processes of ``folder``; ``on_found`` is called with their pids before.

    Errors: `EngineError` when a server runs there whose parent is alive, or one does not end.
    """
    mark = cluster_mark(folder)
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
    on_found([process.pid for process in found])
    for for_server, for_backend, seconds in _STOP_SIGNALS:
        pids = {process.pid for process in found}
        for process in found:
            if process.parent not in pids:  # a server's children are the server's to stop
                _kill(process.pid, for_backend if process.backend else for_server)
        found = await _wait_for_end(seconds, mark)
        if not found:
            return
    pids = {process.pid for process in found}
    message = f"stale PostgreSQL processes {sorted(pids)} in {folder} do not end"
    raise EngineError(message)


def remove_stale_locks(folder: Path) -> list[tuple[str, int]]:
    """Remove PostgreSQL's lock files whose pid is that of a live process which is not its server.

    With such a file PostgreSQL would refuse to start; it handles those of dead processes itself.
    Returns name and pid of each. To be called after `stop_stale_processes`.
    Errors: `EngineError` when the process is a PostgreSQL server that was started elsewhere.
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


def _find_process(pid: int) -> PostgresProcess | None:
    process = _PROC / str(pid)
    try:
        title = (process / "cmdline").read_bytes()
        # "pid (name) state parent …", where the name may hold anything.
        head, _, rest = (process / "stat").read_text("utf-8", "replace").rpartition(")")
    except OSError:  # it ended meanwhile
        return None
    name = head.partition("(")[2]
    return (
        PostgresProcess(pid, int(rest.split()[1]), title) if name == "postgres" and title else None
    )


def _works_elsewhere(pid: int, folder: Path) -> bool:
    """Whether a server certainly has another folder: its working folder is its data folder."""
    try:
        return not (_PROC / str(pid) / "cwd").samefile(folder)
    except OSError:  # another account's
        return False


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as exc:
        message = f"a stale PostgreSQL (process {pid}) belongs to another account: stop it"
        raise EngineError(message) from exc


async def _wait_for_end(seconds: float, mark: str) -> list[PostgresProcess]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    found = find_processes(mark)
    while found and loop.time() < end:
        await asyncio.sleep(_POLL)
        found = find_processes(mark)
    return found
