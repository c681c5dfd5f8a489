"""The connection of a worker to its supervisor: the worker reports readiness, and may be retired.

One stream socket, lines of text. Every second the worker's event loop reports that it runs; one
that is frozen, or kept busy by a handler that never waits, is silent, and its supervisor sees it.
When one side ends, for whatever reason, the other sees the end of the stream: a worker whose
supervisor was killed stops as a service does whose child process died
(``paceline.lifecycle.Watched``). Rejected: a parent-death signal, which the kernel ties to a thread
and which only Linux has. Started first among a worker's services, so that it is the last to stop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from paceline.commands.prefork.handoff import WorkerHandoff
from paceline.errors import Code, Error

READY = b"ready\n"
RETIRE = b"retire\n"
ALIVE = b"alive\n"
_BEAT: Final = 1.0  # seconds


class SupervisorLink:
    """The service. ``on_retire`` is called when another worker has taken this one's place.

    *Resources*: the socket and a timer, until `stop`.
    """

    name = "supervisor"

    def __init__(self, handoff: WorkerHandoff, *, on_retire: Callable[[], None]) -> None:
        self._handoff = handoff
        self._on_retire = on_retire
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Take the socket."""
        if self._writer is None:
            taken = self._handoff.take_link()
            self._reader, self._writer = await asyncio.open_connection(sock=taken)
            self._beat()

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
        if self._timer is not None:
            self._timer.cancel()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _beat(self) -> None:
        self.report(ALIVE)
        self._timer = asyncio.get_running_loop().call_later(_BEAT, self._beat)
