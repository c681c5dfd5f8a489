"""A server that is a single process on a data folder of its own: NATS, Valkey and the like.

Invariants: one server a folder, because it inherits the folder's lock and holds it until it has
ended; it runs as the current account, which owns what it stores. Also as root, which these servers
accept: another account (see ``account``) would need copies of programs and open folders, and only
the current account can connect anyway. Its death signal is SIGKILL, which ends a frozen server too:
what is acknowledged is on disk, or is a cache.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from paceline.engines.child_process import ChildProcess, StopSignals, spawn
from paceline.engines.errors import EngineError
from paceline.engines.folder import FolderLock, make_data_folder
from paceline.engines.server_log import ServerLog

_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_POLL: Final = 0.005
_LOCK_TIMEOUT: Final = 5.0  # for a killed server to end


def _nothing() -> None:
    pass


class ServerProcess:
    """The process, the lock and the log of a server on ``folder``; ``label`` names it in errors.

    Settings: ``start_timeout`` and ``stop_timeout`` (SIGTERM, then SIGKILL) in seconds;
    ``clean_up``: undoes what ``prepare`` of `start` did, while the folder is still locked.

    *Resources*: owns the process and the lock from `start` to `stop`.
    """

    def __init__(
        self,
        label: str,
        folder: Path,
        *,
        start_timeout: float,
        stop_timeout: float,
        clean_up: Callable[[], None] = _nothing,
    ) -> None:
        self._label = label
        self._folder = folder
        self._start_timeout = start_timeout
        self._stop_signals: StopSignals = ((signal.SIGTERM, stop_timeout),)
        self._clean_up = clean_up
        self._lock = FolderLock(folder / "lock")
        self._log = ServerLog(folder / "server.log")
        self._child: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is down."""
        return self._child.pid if self._child is not None else None

    async def start(
        self, prepare: Callable[[], Sequence[str]], is_ready: Callable[[], Awaitable[bool]]
    ) -> None:
        """Lock the folder, run the command that ``prepare`` returns, wait until it ``is_ready``.

        Errors: `EngineError`, which says what to do; what ``prepare`` raises. The folder
        is unlocked then. Must run in the main thread.
        """
        make_data_folder(self._folder)
        await self._lock.acquire_within(_LOCK_TIMEOUT)
        try:
            command = prepare()
            self._log.rotate()
            with self._log.open() as output:
                self._child = spawn(
                    command,
                    output=output,
                    account=None,
                    death_signal=signal.SIGKILL,
                    environment=_ENVIRONMENT,
                    pass_fds=(self._lock.descriptor,),
                )
            await self._until_ready(self._child, is_ready)
        except BaseException:
            with suppress(EngineError):  # the error of the start is the one to raise
                await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server, if it is up.

        Errors: `EngineError` when it had to be killed. It has ended then, too.
        """
        child, self._child = self._child, None
        try:
            sent = await child.stop(self._stop_signals) if child is not None else None
        finally:
            if self._lock.held:
                self._clean_up()
            self._lock.release()
        if sent == signal.SIGKILL:
            raise EngineError(f"{self._label} did not stop in time and was ended by {sent.name}")

    async def wait(self) -> None:
        """Wait for as long as the server is up.

        Errors: `EngineError` with the end of its log when it has ended without `stop`.
        """
        child = self._child
        if child is None:
            raise EngineError(f"{self._label} is not up")
        status = await child.wait()
        if self._child is child:
            raise EngineError(self._exit_message(status))

    async def _until_ready(
        self, child: ChildProcess, is_ready: Callable[[], Awaitable[bool]]
    ) -> None:
        try:
            async with asyncio.timeout(self._start_timeout):
                while not await is_ready():
                    if (status := child.find_status()) is not None:
                        raise EngineError(self._exit_message(status))
                    await asyncio.sleep(_POLL)
        except TimeoutError as exc:
            message = f"{self._label} was not ready within {self._start_timeout:g}s."
            raise EngineError(f"{message} {self._log.tail()}") from exc

    def _exit_message(self, status: int) -> str:
        return f"{self._label} ended by itself (status {status}). {self._log.tail()}"
