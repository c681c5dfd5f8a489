"""Servers that do not answer: their processes are stopped, their connections stay open."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol


class RunningServer(Protocol):
    """A server that is a process."""

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        ...


@contextmanager
def frozen(server: RunningServer) -> Generator[None]:
    """All of the server's processes are stopped for this block, and go on at its end.

    Errors: ValueError when it does not run.
    """
    if server.pid is None:
        raise ValueError("the server does not run")
    os.kill(server.pid, signal.SIGSTOP)  # first, so that it starts no more children
    pids = [server.pid, *child_pids(server.pid)]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def child_pids(parent: int) -> list[int]:
    """The ids of the running children of ``parent``, on Linux."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # gone meanwhile
                # After the name, which may contain anything and ends at the last parenthesis.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found
