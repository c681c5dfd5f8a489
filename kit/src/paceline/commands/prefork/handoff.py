"""What is handed from process to process: the plan to the supervisor, the rest to each worker.

Both travel in a variable of the environment, where only the same user can read them, and whoever
takes one removes it, so that no other program finds it. A command becomes its supervisor by
``exec``: same process number, but without the database driver, gRPC and the rest that the command
had imported. Used by a service's command line and by ``__main__``; a worker's side is ``link``.
"""

import os
import socket
import sys
from collections.abc import Mapping, MutableMapping
from typing import Final, Never

import msgspec

from paceline.log import Format, Level

PLAN: Final = "PACELINE_SUPERVISOR"
WORKER: Final = "PACELINE_WORKER"


class SupervisorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor does. ``stop_timeout``: seconds a worker has from SIGTERM to its end."""

    service: str = ""
    version: str = ""
    workers: int
    host: str
    port: int
    """The address that the workers share; port 0 takes a free one."""
    reserved_port: int
    """Port of servers that open their own sockets (gRPC); 0 takes a free one."""
    reuse_port: bool = False
    """Share the port with other processes, too."""
    stop_timeout: float
    admin_host: str = "127.0.0.1"
    admin_port: int = 0
    admin_token: str | None = None
    log_level: Level = "info"
    log_format: Format = "auto"


class WorkerHandoff(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has from its supervisor. The numbers of descriptors: take each once."""

    worker: int
    """Which of the workers it is, from 1; its successor has the same number."""
    link: int
    listener: int
    port: int
    """Where the listener listens."""
    reserved_port: int
    """The port on which every worker listens with SO_REUSEPORT."""
    admin: int
    """A listening Unix socket, on which the supervisor asks it what an operator wants to know."""

    def take_listener(self) -> socket.socket:
        """The listening socket. *Resources*: the caller's now."""
        return _taken(self.listener)

    def take_admin(self) -> socket.socket:
        """The socket of its admin server. *Resources*: the caller's now."""
        return _taken(self.admin)

    def take_link(self) -> socket.socket:
        """The way to the supervisor. *Resources*: the caller's now."""
        return _taken(self.link)


def _taken(handle: int) -> socket.socket:
    os.set_inheritable(handle, False)
    return socket.socket(fileno=handle)


def inherited() -> WorkerHandoff | None:
    """What this process has from a supervisor, once; None for a process without one."""
    text = os.environ.pop(WORKER, None)
    return None if text is None else msgspec.json.decode(text, type=WorkerHandoff)


def supervise(plan: SupervisorSpec) -> Never:
    """Become the supervisor of this process's own command. Does not return."""
    from paceline.commands.prefork import __main__ as program  # noqa: PLC0415 - nobody else needs it

    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, PLAN: msgspec.json.encode(plan).decode()}
    start = ["-P", "-m", str(program.__package__)]
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, [sys.executable, *start, *command], environment)  # noqa: S606 - no shell is wanted


def take_plan(environment: MutableMapping[str, str]) -> SupervisorSpec | None:
    """The plan that `supervise` left for this process."""
    text = environment.pop(PLAN, None)
    return None if text is None else msgspec.json.decode(text, type=SupervisorSpec)


def handed_on(environment: Mapping[str, str], what: WorkerHandoff) -> dict[str, str]:
    """A worker's environment."""
    return {**environment, WORKER: msgspec.json.encode(what).decode()}
