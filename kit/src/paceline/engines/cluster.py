"""A PostgreSQL data folder, and the programs that run in it.

Layout of ``data_dir``: ``cluster/`` (PostgreSQL's own, private to the server's account), ``lock``,
``server.log`` and the previous run's ``server.log.1``, ``password`` (for TCP, when a port is set).
Invariants: ``cluster/`` is complete or absent; programs of another account reach it through an open
descriptor, so that this account must own only ``cluster/`` and no folder above it is widened.
"""

import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from paceline.engines.account import Account
from paceline.engines.child_process import ChildProcess, spawn
from paceline.engines.errors import EngineError
from paceline.engines.folder import make_data_folder, write_private
from paceline.engines.server_log import ServerLog

_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_ACCESS_RULES: Final = """\
# Written at every start. The socket is in this folder, which no other account may enter.
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


class Cluster:
    """The files of one server."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.folder: Path = data_dir / "cluster"
        self.log: ServerLog = ServerLog(data_dir / "server.log")
        self._password_file = data_dir / "password"

    def create_folder(self) -> None:
        """Create the data folder, for the current account only. Errors: `EngineError`."""
        make_data_folder(self._data_dir)

    def exists(self) -> bool:
        """Whether there is a cluster. Errors: `EngineError` when there are other files."""
        if (self.folder / "PG_VERSION").exists():
            return True
        if self.folder.exists() and any(self.folder.iterdir()):
            message = f"{self.folder} holds something that is no PostgreSQL cluster: move it away"
            raise EngineError(message)
        return False

    async def initialise(self, programs: Path, account: Account | None, *, durable: bool) -> None:
        """Create the cluster: UTF-8, checksums, one superuser. Errors: `EngineError`."""
        for old in self._data_dir.glob("cluster.new-*"):
            shutil.rmtree(old, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self._data_dir))
        if account is not None:
            os.chown(aside, account.uid, account.gid)
        initdb: list[Path | str] = [
            programs / "initdb",
            *("--username=postgres", "--auth=trust"),
            *("--locale=C.UTF-8", "--encoding=UTF8", "--data-checksums", "--no-instructions"),
            *(() if durable else ("--no-sync",)),
        ]
        try:
            await self._run_to_end(initdb, account, folder=aside)
            self._move_into_place(aside)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    async def set_password(self, programs: Path, account: Account | None, *, user: str) -> None:
        """Give ``user`` a new password and store it. The server must be down.

        Errors: `EngineError`.
        """
        password = secrets.token_hex(16)
        with tempfile.TemporaryFile() as script:
            script.write(f"ALTER ROLE {user} PASSWORD '{password}'\n".encode())
            script.seek(0)
            single = (programs / "postgres", "--single", "postgres")
            await self._run_to_end(single, account, folder=self.folder, stdin=script)
        write_private(self._password_file, password, uid=os.geteuid(), gid=os.getegid())

    def find_password(self) -> str | None:
        """The superuser's password for TCP."""
        try:
            return self._password_file.read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def write_access_rules(self, account: Account | None) -> None:
        """Write who may connect: anybody through the socket, TCP with a password."""
        rules = self.folder / "pg_hba.conf"
        if rules.exists() and rules.read_text(encoding="utf-8") == _ACCESS_RULES:
            return
        uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
        write_private(rules, _ACCESS_RULES, uid=uid, gid=gid)

    def read_pid_file(self) -> list[str]:
        """The lines of the server's own pid file, none when there is none."""
        try:
            return (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def run(
        self,
        command: Sequence[Path | str],
        account: Account | None,
        *,
        death_signal: signal.Signals,
        folder: Path | None = None,
        stdin: IO[bytes] | None = None,
    ) -> ChildProcess:
        """Start a program of PostgreSQL in the cluster (or ``folder``); it writes to the log."""
        with (
            _accessible_path(folder or self.folder, account) as (path, descriptors),
            self.log.open() as log,
        ):
            return spawn(
                [str(word) for word in command],
                output=log,
                account=account,
                death_signal=death_signal,
                environment={**_ENVIRONMENT, "PGDATA": path},
                stdin=stdin,
                pass_fds=descriptors,
            )

    async def _run_to_end(
        self,
        command: Sequence[Path | str],
        account: Account | None,
        *,
        folder: Path,
        stdin: IO[bytes] | None = None,
    ) -> None:
        child = self.run(command, account, death_signal=signal.SIGTERM, folder=folder, stdin=stdin)
        try:
            status = await child.wait()
        finally:
            await child.stop(((signal.SIGTERM, 5.0),))
        if status != 0:
            message = f"{Path(command[0]).name} failed (status {status}). {self.log.tail()}"
            raise EngineError(message)

    def _move_into_place(self, aside: Path) -> None:
        """Rename the finished cluster, and sync, so that it is there after a power cut."""
        aside.rename(self.folder)
        folder = os.open(self._data_dir, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _accessible_path(
    folder: Path, account: Account | None
) -> Generator[tuple[str, tuple[int, ...]]]:
    """A path by which the account reaches the folder, and the descriptors it must inherit.

    A folder above may be closed to another account; a path through a descriptor has none above.
    """
    if account is None or sys.platform != "linux":
        yield str(folder), ()
        return
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}", (handle,)
    finally:
        os.close(handle)
