"""What one process hands to the next: its settings to the supervisor, sockets to each worker.

Both travel in an environment variable, which only the same user can read, and each is removed when
it is read, so that no program started later finds it. A command becomes its supervisor by ``exec``:
the same process id, but without the database driver, gRPC and the rest that it had imported.
"""

import os
import socket
import sys
from collections.abc import Mapping, MutableMapping
from typing import Final, Never

import msgspec

from paceline.http.server import ConnectionTable, FairShare, SharedListener
from paceline.log import Format, Level

SUPERVISOR_VARIABLE: Final = "PACELINE_SUPERVISOR"
WORKER_VARIABLE: Final = "PACELINE_WORKER"
_PROGRAM: Final = __name__.rpartition(".")[0]
"""This package, whose ``__main__`` is the supervisor."""


class SupervisorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a supervisor. ``stop_timeout``: seconds from SIGTERM to a worker's end."""

    service: str = ""
    version: str = ""
    workers: int
    host: str
    ports: dict[str, int]
    """By the name of a server, where the workers listen; port 0 takes a free one."""
    reuse_port: bool = False
    """Share the ports with other processes, too."""
    stop_timeout: float
    worker_timeout: float = 6.0
    """Seconds for which a worker's event loop may not run before the worker is replaced; or 0."""
    admin_host: str = "127.0.0.1"
    admin_port: int = 0
    admin_token: str | None = None
    scheme: str = "http"
    """Of the workers' URL."""
    admin_tls: dict[str, str] = {}
    """The files of the admin port, by `paceline.commands.tls_fields.TLS_FIELDS`."""
    log_level: Level = "info"
    log_format: Format = "auto"
    log_source: bool = False


class ListenerHandoff(msgspec.Struct, frozen=True, kw_only=True):
    """A listening socket, and the table in which each worker counts its connections, if any."""

    handle: int
    port: int
    table: int | None = None
    slot: int = 0


class WorkerHandoff(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker gets from its supervisor. Sockets are file descriptors; take each once."""

    worker: int
    """Its number among the workers, from 1; its successor has the same."""
    tells_people: bool = False
    """Whether it says on stderr why it could not start: one does, for all that fail alike."""
    link: int
    listeners: dict[str, ListenerHandoff]
    """By the name of a server."""
    admin: int
    """A listening socket for its admin server, whose client is the supervisor."""
    public_admin: bool = False
    """Its clients are everybody's: it asks for the token."""

    @property
    def ports(self) -> dict[str, int]:
        """Where the listeners listen, by the name of a server."""
        return {name: each.port for name, each in self.listeners.items()}

    def take_listener(self, name: str) -> SharedListener | None:
        """The listening socket of a server; None: the supervisor has none of this name.

        *Resources*: the socket and its share are the caller's.
        """
        given = self.listeners.get(name)
        if given is None:
            return None
        share = None
        if given.table is not None:
            os.set_inheritable(given.table, False)
            share = FairShare(ConnectionTable(given.table), given.slot)
        return SharedListener(_adopt(given.handle), share)

    def take_admin(self) -> socket.socket:
        """The socket of its admin server. *Resources*: the socket is the caller's."""
        return _adopt(self.admin)

    def take_link(self) -> socket.socket:
        """The socket to the supervisor. *Resources*: the socket is the caller's."""
        return _adopt(self.link)


def _adopt(handle: int) -> socket.socket:
    os.set_inheritable(handle, False)
    return socket.socket(fileno=handle)


def take_handoff() -> WorkerHandoff | None:
    """What a supervisor handed to this process, the first time; None without a supervisor."""
    text = os.environ.pop(WORKER_VARIABLE, None)
    return None if text is None else msgspec.json.decode(text, type=WorkerHandoff)


def supervise(spec: SupervisorSpec) -> Never:
    """Become the supervisor of this process's own command. Does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    environment = {**os.environ, SUPERVISOR_VARIABLE: msgspec.json.encode(spec).decode()}
    start = ["-P", "-m", _PROGRAM]
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, [sys.executable, *start, *command], environment)  # noqa: S606 - no shell is wanted


def take_spec(environment: MutableMapping[str, str]) -> SupervisorSpec | None:
    """What `supervise` was called with, taken out of ``environment``; None when it was not."""
    text = environment.pop(SUPERVISOR_VARIABLE, None)
    return None if text is None else msgspec.json.decode(text, type=SupervisorSpec)


def worker_environment(environment: Mapping[str, str], handoff: WorkerHandoff) -> dict[str, str]:
    """A worker's environment: ``environment``, and what it gets from its supervisor."""
    return {**environment, WORKER_VARIABLE: msgspec.json.encode(handoff).decode()}
