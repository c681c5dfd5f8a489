"""A proxy in front of a real server that falls silent at a chosen byte, as a broken network does.

Nothing is closed and nothing is refused: bytes just do not arrive any more, in one direction, on
the connections that there are. Those opened later pass, like the connection on which a client asks
the server to stop working. `Proxy.conversation` tells what one piece of work sends and gets, piece
by piece, so a test can walk through it: silence before each piece, and in the middle of it. For
tests of deadlines; free of pytest.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

_PIECE: Final = 64 * 1024
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Way(Enum):
    """A direction."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Proxy:
    """Passes on between clients on ``port`` of 127.0.0.1 and whatever ``connect`` opens.

    *Resources*: owns the connections, with two tasks for each; see `proxy_of`.
    """

    def __init__(self, connect: Connect) -> None:
        self.port: int = 0
        self._connect = connect
        self._lines: set[_Line] = set()
        self._heard: list[tuple[_Line, Way, int]] = []
        self._heard_at = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def fall_silent(self, way: Way, after: int) -> None:
        """Pass on ``after`` more bytes that way on each connection there is, and then none."""
        for line in self._lines:
            line.silence(way, after)

    def speak(self) -> None:
        """Pass on everything again; connections on which something was lost stay silent."""
        for line in self._lines:
            line.speak()

    def forget(self) -> None:
        """Begin a new conversation."""
        self._heard.clear()

    @property
    def conversation(self) -> list[tuple[Way, int]]:
        """Way and size of each piece since `forget`, on the connection that spoke first."""
        return [(way, size) for line, way, size in self._heard if line is self._heard[0][0]]

    async def until_quiet(self, seconds: float) -> None:
        """Wait until nobody has said anything for so long."""
        loop = asyncio.get_running_loop()
        while (left := self._heard_at + seconds - loop.time()) > 0:  # noqa: ASYNC110 - silence is no event
            await asyncio.sleep(left)

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._between(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line()
        self._lines.add(line)
        try:
            upstream = await self._connect()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(line, Way.TO_SERVER, reader, upstream[1]))
                    group.create_task(self._pump(line, Way.TO_CLIENT, upstream[0], writer))
            finally:
                upstream[1].close()
        except* (OSError, _Ended):
            pass
        finally:
            self._lines.discard(line)
            writer.close()

    async def _pump(
        self, line: "_Line", way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(_PIECE):
            self._heard.append((line, way, len(piece)))
            self._heard_at = asyncio.get_running_loop().time()
            if passing := line.passing(way, piece):
                writer.write(passing)
                await writer.drain()
        raise _Ended


class _Line:
    """One connection, and how much it may still pass on."""

    def __init__(self) -> None:
        self._left: dict[Way, int] = {}
        self._lost: set[Way] = set()

    def silence(self, way: Way, after: int) -> None:
        self._left[way] = after

    def speak(self) -> None:
        self._left.clear()

    def passing(self, way: Way, piece: bytes) -> bytes:
        """As much of ``piece`` as arrives."""
        left = 0 if way in self._lost else self._left.get(way)
        if left is None:
            return piece
        if left < len(piece):
            self._lost.add(way)
        self._left[way] = max(0, left - len(piece))
        return piece[:left]


class _Ended(Exception):
    """One side closed: the other is closed, too, whatever has not arrived yet."""


@asynccontextmanager
async def proxy_of(connect: Connect) -> AsyncGenerator[Proxy]:
    """A proxy for this block. *Resources*: owns it."""
    proxy = Proxy(connect)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
