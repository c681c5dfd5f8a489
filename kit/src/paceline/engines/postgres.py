"""A PostgreSQL server as a child process.

Invariants: the data stays in the given folder, whatever account the server needs (as root the
server enters through a descriptor, so a private home above it stays private); a cluster is complete
or absent (created aside, then renamed); without the password, connections are possible only through
the socket inside the server's own folder. Rejected: the wheel's Python layer (see ``programs``).
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from paceline.engines.account import Account, server_account
from paceline.engines.child_process import ChildProcess, StopSignals
from paceline.engines.cluster import Cluster
from paceline.engines.errors import EngineError
from paceline.engines.folder import FolderLock
from paceline.engines.programs import (
    CACHE_FOLDER,
    Programs,
    copy_programs,
    find_inaccessible,
    get_programs,
)
from paceline.engines.progress import step_reporter
from paceline.engines.socket_path import (
    make_link,
    remove_link,
    runtime_folder,
    socket_folder,
)
from paceline.engines.stale import (
    PARENT_SETTING,
    cluster_mark,
    remove_stale_locks,
    stop_stale_processes,
)
from paceline.log import Logger

_POLL: Final = 0.005
_DEFAULT_PORT: Final = 5432
_USER: Final = "postgres"
_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})
_READY_LINE: Final = 7  # of postmaster.pid, counted from 0


class PostgresEngine:
    """A PostgreSQL server on ``data_dir``, from the wheel or else the system's own.

    Settings: ``port``: listen on 127.0.0.1 too, with a generated password (see `tcp_dsn`);
    ``options``: server settings that override ours; ``progress``: receives the steps of a start,
    which are logged without it; ``start_timeout`` and ``stop_timeout`` in seconds; ``cache_dir``:
    where root copies the programs when the server's account cannot reach them; ``programs``: the
    installation to use instead of the one that is found.

    *Resources*: owns the server process and the lock on ``data_dir`` from `start` to `stop`.
    """

    name = "postgres"

    def __init__(
        self,
        log: Logger,
        *,
        data_dir: Path,
        port: int | None = None,
        options: Mapping[str, str] = _NO_OPTIONS,
        progress: Callable[[str], None] | None = None,
        start_timeout: float = 30.0,
        stop_timeout: float = 10.0,
        cache_dir: Path = CACHE_FOLDER,
        programs: Programs | None = None,
    ) -> None:
        self._log = log
        self._cluster = Cluster(data_dir.absolute())
        self._port = port
        self._options = dict(options)
        self._report = step_reporter(log, progress)
        self._start_timeout = start_timeout
        self._stop_signals: StopSignals = ((signal.SIGINT, stop_timeout), (signal.SIGQUIT, 6.0))
        self._cache_dir = cache_dir
        self._programs = programs
        self._lock = FolderLock(data_dir.absolute() / "lock")
        runtime = runtime_folder(os.environ, os.geteuid())
        self._host = socket_folder(self._cluster.folder, runtime)
        self._child: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is down."""
        return self._child.pid if self._child is not None else None

    def dsn(self, database: str = "postgres") -> str:
        """The URL of a database, through the private socket. The same after every start."""
        port = self._port or _DEFAULT_PORT
        host = quote(str(self._host), safe="/")
        return f"postgresql://{_USER}@/{quote(database, safe='')}?host={host}&port={port}"

    def tcp_dsn(self) -> str:
        """The URL by TCP, with the password, for psql and other tools; after `start`.

        Errors: `EngineError` without a ``port``, or before the first start with one.
        """
        if self._port is None or (password := self._cluster.find_password()) is None:
            raise EngineError("this PostgreSQL does not listen on TCP")
        return f"postgresql://{_USER}:{password}@127.0.0.1:{self._port}/postgres"

    async def start(self) -> None:
        """Start the server, after creating its cluster if there is none.

        Errors: `EngineError`, which says what to do: no programs, folder in use or of another
        account, the server ended at once, not ready within ``start_timeout``. Must run in the main
        thread.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._cluster.create_folder()
        self._lock.acquire()
        try:
            label = await self._start_server()
        except BaseException:
            with suppress(EngineError):  # the error of the start is the one to raise
                await self.stop()
            raise
        self._report(f"{label} ready in {loop.time() - started:.2f}s")

    async def _start_server(self) -> str:
        account = server_account(self._cluster.folder)
        programs = await self._accessible_programs(self._programs or get_programs(), account)
        self._cluster.log.rotate()
        if self._cluster.exists():
            await self._remove_stale_state()
        else:
            self._report(f"initialising {programs.label} in {self._cluster.folder}")
            await self._cluster.initialise(programs.folder, account, durable=self._durable)
        self._cluster.write_access_rules(account)
        if self._port is not None and self._cluster.find_password() is None:
            await self._cluster.set_password(programs.folder, account, user=_USER)
        make_link(self._cluster.folder, self._host)
        self._report(f"starting {programs.label}")
        self._child = self._cluster.run(
            [programs.folder / "postgres", *self._settings()], account, death_signal=signal.SIGINT
        )
        await self._until_ready(self._child)
        return programs.label

    async def stop(self) -> None:
        """Stop the server, if it is up, and end its connections.

        Errors: `EngineError` when SIGINT was not enough. It has ended then, too, and no
        acknowledged write is lost: the next start recovers them.
        """
        child, self._child = self._child, None
        if child is None:
            self._lock.release()
            return
        try:
            sent = await child.stop(self._stop_signals)
        finally:
            remove_link(self._cluster.folder, self._host)
            self._lock.release()
        if sent is not None and sent != signal.SIGINT:
            raise EngineError(f"PostgreSQL did not stop in time and was ended by {sent.name}")

    async def wait(self) -> None:
        """Wait for as long as the server is up.

        Errors: `EngineError` with the end of its log when it has ended without `stop`.
        """
        child = self._child
        if child is None:
            raise EngineError("PostgreSQL is not up")
        status = await child.wait()
        if self._child is child:
            raise EngineError(f"PostgreSQL {self._exit_message(status)}")

    @property
    def _durable(self) -> bool:
        return self._options.get("fsync", "on") == "on"

    async def _accessible_programs(self, programs: Programs, account: Account | None) -> Programs:
        if account is None or (inaccessible := find_inaccessible(programs, account)) is None:
            return programs
        self._report(
            f"the account {account.name} cannot access {inaccessible}: using a copy of the server"
        )
        return await asyncio.to_thread(copy_programs, programs, account, self._cache_dir)

    async def _remove_stale_state(self) -> None:
        folder = self._cluster.folder
        await stop_stale_processes(
            folder, lambda pids: self._log.warning("stopping a stale PostgreSQL", pids=pids)
        )
        for file, pid in remove_stale_locks(folder):
            self._log.warning("removed a stale lock file of PostgreSQL", file=file, pid=pid)

    def _settings(self) -> list[str]:
        settings = {
            "cluster_name": cluster_mark(self._cluster.folder),
            PARENT_SETTING: str(os.getpid()),
            "listen_addresses": "" if self._port is None else "127.0.0.1",
            "port": str(self._port or _DEFAULT_PORT),
            "unix_socket_directories": ".",
            **self._options,
        }
        return [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]

    async def _until_ready(self, child: ChildProcess) -> None:
        try:
            async with asyncio.timeout(self._start_timeout):
                while not self._is_ready(child):
                    if (status := child.find_status()) is not None:
                        raise EngineError(f"PostgreSQL {self._exit_message(status)}")
                    await asyncio.sleep(_POLL)
        except TimeoutError as exc:
            tail = self._cluster.log.tail()
            message = f"PostgreSQL was not ready within {self._start_timeout:g}s. {tail}"
            raise EngineError(message) from exc

    def _is_ready(self, child: ChildProcess) -> bool:
        lines = self._cluster.read_pid_file()
        return (
            len(lines) > _READY_LINE
            and lines[0] == str(child.pid)
            and lines[_READY_LINE].strip() == "ready"
        )

    def _exit_message(self, status: int) -> str:
        return f"ended by itself (status {status}). {self._cluster.log.tail()}"
