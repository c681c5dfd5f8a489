"""A server that is one process on a folder of its own: NATS, Valkey, and whatever comes like them.

Invariants: one server a folder, since ours holds our lock (``folder``) until it has ended itself;
it runs as we do, and what it stores is ours alone. Also as root, which such servers do not refuse:
lending an account (see ``account``) would mean copying programs and opening folders, while nobody
but us can talk to them anyway. SIGKILL when we die, which reaches a frozen server too: what is
acknowledged is on disk, or is a cache. Used by ``nats`` and ``redis``; read ``supervisor`` next.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from paceline.engines.child_process import Child, Ladder, spawn
from paceline.engines.errors import EngineError
from paceline.engines.folder import FolderLock, data_folder
from paceline.engines.server_log import ServerLog

_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_POLL: Final = 0.005
_PATIENCE: Final = 5.0  # for a killed server to be gone


def _nothing() -> None:
    pass


class ServerProcess:
    """The process, the lock and the log of the server ``what`` on ``folder``.

    Settings: ``start_timeout`` and ``stop_timeout`` (SIGTERM, then SIGKILL) in seconds;
    ``clean_up``: undoes what ``prepare`` of `start` did, while the folder is still ours.

    *Resources*: owns the process and the lock from `start` to `stop`.
    """

    def __init__(
        self,
        what: str,
        folder: Path,
        *,
        start_timeout: float,
        stop_timeout: float,
        clean_up: Callable[[], None] = _nothing,
    ) -> None:
        self._what = what
        self._folder = folder
        self._start_timeout = start_timeout
        self._ladder: Ladder = ((signal.SIGTERM, stop_timeout),)
        self._clean_up = clean_up
        self._lock = FolderLock(folder / "lock")
        self._log = ServerLog(folder / "server.log")
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The server's process, None while it is not up."""
        return self._child.pid if self._child is not None else None

    async def start(
        self, prepare: Callable[[], Sequence[str]], is_ready: Callable[[], Awaitable[bool]]
    ) -> None:
        """Run the command that ``prepare`` gives once the folder is ours, until it ``is_ready``.

        Errors: `EngineError`, which says what to do; what ``prepare`` raises. Whatever happened,
        the folder is free again then. Must run in the main thread.
        """
        data_folder(self._folder)
        await self._lock.inherit(_PATIENCE)
        try:
            command = prepare()
            self._log.rotate()
            with self._log.open() as output:
                self._child = spawn(
                    command,
                    output=output,
                    account=None,
                    death=signal.SIGKILL,
                    environment=_ENVIRONMENT,
                    handed_on=(self._lock.handle,),
                )
            await self._until_ready(self._child, is_ready)
        except BaseException:
            with suppress(EngineError):  # how it ended matters less than why it did not start
                await self.stop()
            raise

    async def stop(self) -> None:
        """End the server; nothing when it is not up.

        Errors: `EngineError` when it had to be killed. It has ended then, too.
        """
        child, self._child = self._child, None
        try:
            sent = await child.stop(self._ladder) if child is not None else None
        finally:
            if self._lock.held:
                self._clean_up()
            self._lock.release()
        if sent == signal.SIGKILL:
            raise EngineError(f"{self._what} did not stop in time and was ended by {sent.name}")

    async def wait(self) -> None:
        """Watch the server; never returns while it is up.

        Errors: `EngineError` with the end of its log when it has ended without `stop`.
        """
        child = self._child
        if child is None:
            raise EngineError(f"{self._what} is not up")
        status = await child.wait()
        if self._child is child:
            raise EngineError(self._story(status))

    async def _until_ready(self, child: Child, is_ready: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(self._start_timeout):
                while not await is_ready():
                    if (status := child.find_status()) is not None:
                        raise EngineError(self._story(status))
                    await asyncio.sleep(_POLL)
        except TimeoutError as exc:
            message = f"{self._what} was not ready within {self._start_timeout:g}s."
            raise EngineError(f"{message} {self._log.tail()}") from exc

    def _story(self, status: int) -> str:
        return f"{self._what} ended by itself (status {status}). {self._log.tail()}"
