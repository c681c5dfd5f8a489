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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from paceline.commands.prefork.handoff import ListenerHandoff, WorkerHandoff, worker_environment
from paceline.commands.prefork.link import ALIVE, READY, RETIRE
from paceline.commands.prefork.sockets import port_of
from paceline.commands.prefork.workers import Ending
from paceline.http.server import ConnectionTable

_POLL: Final = 0.01  # between the end of a link and the end of its process
_SIGNALS: Final = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL}
_LONGEST_LINE: Final = 1 << 20


def _ignore(_line: bytes) -> None:
    pass


class LinkedProcess:
    """A process with a link; implements ``workers.Worker``.

    ``on_report`` gets the lines that it reports, other than that it is ready or alive; ``beats``
    is how often it has reported the latter.

    *Resources*: the process and the link, until it has ended.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        link: socket.socket,
        *,
        on_report: Callable[[bytes], None] = _ignore,
    ) -> None:
        self.pid: int = process.pid
        self.beats: int = 0
        self._process = process
        self._on_report = on_report
        self._ready = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[bytes] = []
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

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._ended.done()

    def send(self, line: bytes) -> None:
        """Send it a line."""
        if self._writer is not None:
            self._writer.write(line)
        else:
            self._unsent.append(line)

    def end(self, how: Ending) -> None:
        """End it: "retire" and "terminate" let it finish its work, "kill" does not."""
        if how == "retire":
            self.send(RETIRE)
        elif self._process.returncode is None:
            self._process.send_signal(_SIGNALS[how])

    async def _follow(self, link: socket.socket) -> int:
        reader, writer = await asyncio.open_connection(sock=link, limit=_LONGEST_LINE)
        self._writer = writer
        writer.writelines(self._unsent)
        try:
            with suppress(ConnectionError):
                while line := await reader.readline():
                    if line == ALIVE:
                        self.beats += 1
                    elif line == READY:
                        self._ready.set()
                    else:
                        self._on_report(line)
            while (status := self._process.poll()) is None:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(_POLL)
        finally:
            writer.close()
            self._release()
        return status

    def _release(self) -> None:
        """Give up what else belongs to it."""


class WorkerProcess(LinkedProcess):
    """A worker. ``admin``: the path of its admin server. ``release``: called when it has ended."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        link: socket.socket,
        admin: Path,
        release: Callable[[], None],
    ) -> None:
        self.admin = admin
        self._give_up = release
        super().__init__(process, link)

    def _release(self) -> None:
        self._give_up()


class Spawner:
    """Starts up to ``workers`` workers and their successors: ``command``, with the ``listeners``.

    ``folder``: for the sockets of their admin servers.

    *Resources*: tables of connections, until `close`.
    """

    def __init__(
        self,
        command: Sequence[str],
        listeners: Mapping[str, socket.socket],
        *,
        workers: int,
        folder: Path,
    ) -> None:
        self._folder = folder
        self._started = count(1)
        self._command = [*command]
        self._listeners = listeners
        self._slots = list(range(2 * workers))  # each may have a successor already
        self._tables = {name: ConnectionTable.create(2 * workers) for name in listeners}

    @property
    def ports(self) -> dict[str, int]:
        """Where the workers accept, by the name of a server."""
        return {name: port_of(listener) for name, listener in self._listeners.items()}

    def close(self) -> None:
        """Give up the tables."""
        for table in self._tables.values():
            table.close()

    def __call__(self, number: int) -> WorkerProcess:
        """Start worker ``number``. Errors: OSError."""
        ours, theirs = socket.socketpair()
        started = next(self._started)
        path = self._folder / f"{number}-{started}"
        admin = socket.socket(socket.AF_UNIX)
        admin.bind(str(path))
        admin.listen()
        slot = self._slots.pop() if self._slots else None
        listeners = {name: self._hand_over(name, slot) for name in self._listeners}
        handles = [theirs.fileno(), admin.fileno()]
        for each in listeners.values():
            handles += [each.handle] if each.table is None else [each.handle, each.table]
        handoff = WorkerHandoff(
            worker=number,
            tells_people=started == 1,
            link=theirs.fileno(),
            listeners=listeners,
            admin=admin.fileno(),
        )

        def release() -> None:
            path.unlink(missing_ok=True)
            if slot is not None:
                for table in self._tables.values():
                    table.clear(slot)
                self._slots.append(slot)

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
            release()
            raise
        return WorkerProcess(process, ours, path, release)

    def _hand_over(self, name: str, slot: int | None) -> ListenerHandoff:
        listener = self._listeners[name]
        return ListenerHandoff(
            handle=listener.fileno(),
            port=port_of(listener),
            table=None if slot is None else self._tables[name].fileno(),
            slot=slot or 0,
        )
