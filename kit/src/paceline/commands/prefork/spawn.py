"""One worker process: started as a fresh interpreter, connected by a socket pair.

It has a session of its own, so Ctrl-C on a terminal reaches the supervisor only, and its output is
the supervisor's. Its end shows as the end of the link, then as its exit status. Its admin server
listens in a folder that only this user may enter. Rejected: asyncio's subprocesses, which start a
thread for each child.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from paceline.commands.prefork.handoff import WorkerHandoff, worker_environment
from paceline.commands.prefork.link import READY, RETIRE
from paceline.commands.prefork.sockets import port_of
from paceline.commands.prefork.workers import Ending

_POLL: Final = 0.01  # between the end of a link and the end of its process
_SIGNALS: Final = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}


class WorkerProcess:
    """Implements ``workers.Worker``. ``admin`` is the path of its admin server.

    *Resources*: the process, the link and that path, until it has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket, admin: Path) -> None:
        self.pid: int = process.pid
        self.admin = admin
        self._process = process
        self._ready = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._ended = asyncio.create_task(self._follow(link), name=f"worker process {self.pid}")

    async def ready(self) -> bool:
        """Wait until it has reported so; False when it has ended instead."""
        reported = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({reported, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reported.cancel()
        return self._ready.is_set() and not self._ended.done()

    async def wait(self) -> int:
        """Its exit status once it has ended, a signal as a negative number."""
        return await asyncio.shield(self._ended)

    def end(self, how: Ending) -> None:
        """End it: "retire" and "terminate" let it finish its work, "kill" does not."""
        if how == "retire":
            if self._writer is not None:
                self._writer.write(RETIRE)
        elif self._process.returncode is None:
            self._process.send_signal(_SIGNALS[how])

    async def _follow(self, link: socket.socket) -> int:
        reader, writer = await asyncio.open_connection(sock=link)
        self._writer = writer
        try:
            with suppress(ConnectionError):
                while line := await reader.readline():
                    if line == READY:
                        self._ready.set()
            while (status := self._process.poll()) is None:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(_POLL)
        finally:
            writer.close()
            self.admin.unlink(missing_ok=True)
        return status


class Spawner:
    """Starts workers: ``command``, with ``listener`` to accept from and ``reserved_port``.

    ``folder``: for the sockets of their admin servers.
    """

    def __init__(
        self,
        command: Sequence[str],
        listener: socket.socket,
        *,
        reserved_port: int,
        folder: Path,
    ) -> None:
        self._folder = folder
        self._started = count(1)
        self._command = [*command]
        self._listener = listener
        self.reserved_port = reserved_port

    @property
    def port(self) -> int:
        """Where the workers accept."""
        return port_of(self._listener)

    def __call__(self, number: int) -> WorkerProcess:
        """Start worker ``number``. Errors: OSError."""
        ours, theirs = socket.socketpair()
        started = next(self._started)
        path = self._folder / f"{number}-{started}"
        admin = socket.socket(socket.AF_UNIX)
        admin.bind(str(path))
        admin.listen()
        handles = (theirs.fileno(), self._listener.fileno(), admin.fileno())
        handoff = WorkerHandoff(
            worker=number,
            tells_people=started == 1,
            link=handles[0],
            listener=handles[1],
            admin=handles[2],
            port=self.port,
            reserved_port=self.reserved_port,
        )
        try:
            with theirs, admin:
                process = subprocess.Popen(  # noqa: S603 - the command is ours
                    self._command,
                    env=worker_environment(os.environ, handoff),
                    stdin=subprocess.DEVNULL,
                    pass_fds=handles,
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            path.unlink()
            raise
        return WorkerProcess(process, ours, path)
