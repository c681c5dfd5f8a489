"""A worker's way to its supervisor: it says that it is ready, and hears that it may go.

One stream socket, lines of text. Its end tells each side of the other's death, however that came
about: a worker whose supervisor was killed stops as a service does that has lost a child process
(``paceline.lifecycle.Watched``). Rejected: a death signal, which the kernel ties to a thread, and
which only Linux has. Built by ``main`` and started first, so that it is the last to stop; the
other end is ``spawn``.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from paceline.commands.prefork.handoff import WorkerHandoff
from paceline.errors import Code, Error

READY = b"ready\n"
LEAVE = b"leave\n"


class SupervisorLink:
    """The service. ``on_leave`` is called when another worker has taken this one's place.

    *Resources*: the socket, until `stop`.
    """

    name = "supervisor"

    def __init__(self, given: WorkerHandoff, *, on_leave: Callable[[], None]) -> None:
        self._given = given
        self._on_leave = on_leave
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Take the socket."""
        if self._writer is None:
            taken = self._given.take_link()
            self._reader, self._writer = await asyncio.open_connection(sock=taken)

    def tell_ready(self) -> None:
        """Say that everything is up; the supervisor may end the worker before this one."""
        if self._writer is not None:
            self._writer.write(READY)

    async def wait(self) -> None:
        """Listen. Errors: Error(UNAVAILABLE) when the supervisor is gone."""
        if self._reader is not None:
            with suppress(ConnectionError):
                while line := await self._reader.readline():
                    if line == LEAVE:
                        self._on_leave()
        raise Error(Code.UNAVAILABLE, "the supervisor is gone")

    async def stop(self) -> None:
        """Let go."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
