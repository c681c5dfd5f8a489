"""The connection of a worker to its supervisor: the worker reports readiness, and may be retired.

One stream socket, lines of text. When one side ends, for whatever reason, the other sees the end of
the stream: a worker whose supervisor was killed stops as a service does whose child process died
(``paceline.lifecycle.Watched``). Rejected: a parent-death signal, which the kernel ties to a thread
and which only Linux has. Started first among a worker's services, so that it is the last to stop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from paceline.commands.prefork.handoff import WorkerHandoff
from paceline.errors import Code, Error

READY = b"ready\n"
RETIRE = b"retire\n"


class SupervisorLink:
    """The service. ``on_retire`` is called when another worker has taken this one's place.

    *Resources*: the socket, until `stop`.
    """

    name = "supervisor"

    def __init__(self, handoff: WorkerHandoff, *, on_retire: Callable[[], None]) -> None:
        self._handoff = handoff
        self._on_retire = on_retire
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Take the socket."""
        if self._writer is None:
            taken = self._handoff.take_link()
            self._reader, self._writer = await asyncio.open_connection(sock=taken)

    def report_ready(self) -> None:
        """Report that everything is up; the supervisor may then retire the previous worker."""
        self.report(READY)

    def report(self, line: bytes) -> None:
        """Send the supervisor a line."""
        if self._writer is not None:
            self._writer.write(line)

    async def wait(self) -> None:
        """Follow the stream. Errors: Error(UNAVAILABLE) when the supervisor has ended."""
        if self._reader is not None:
            with suppress(ConnectionError):
                while line := await self._reader.readline():
                    if line == RETIRE:
                        self._on_retire()
        raise Error(Code.UNAVAILABLE, "the supervisor has ended")

    async def stop(self) -> None:
        """Close the socket."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
