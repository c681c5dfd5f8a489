"""A TCP proxy in front of a real server that stalls at a chosen byte, as a broken network does.

Nothing is closed and nothing is refused: in one direction, on the connections that are open, no
more bytes arrive. Connections opened later work, such as the one on which a client asks PostgreSQL
to cancel a statement. `StallingProxy.transcript` lists what one request sends and receives, piece
by piece, so a test of deadlines can stall before each piece, and in the middle of it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

_PIECE: Final = 64 * 1024
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class FlowDirection(Enum):
    """A direction of bytes."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class StallingProxy:
    """Forwards between clients on ``port`` of 127.0.0.1 and the streams that ``connect`` opens.

    *Resources*: owns the connections, with two tasks for each; see `stalling_proxy`.
    """

    def __init__(self, connect: Connect) -> None:
        self.port: int = 0
        self._connect = connect
        self._connections: set[_Connection] = set()
        self._pieces: list[tuple[_Connection, FlowDirection, int]] = []
        self._last_piece_at = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def stall(self, direction: FlowDirection, after: int) -> None:
        """Forward ``after`` more bytes in ``direction`` on each open connection, then none."""
        for connection in self._connections:
            connection.stall(direction, after)

    def resume(self) -> None:
        """Forward everything again; connections on which bytes were lost stay stalled."""
        for connection in self._connections:
            connection.resume()

    def clear_transcript(self) -> None:
        """Begin a new transcript."""
        self._pieces.clear()

    @property
    def transcript(self) -> list[tuple[FlowDirection, int]]:
        """Direction and size of each piece since `clear_transcript`, of the first connection."""
        return [
            (direction, size)
            for connection, direction, size in self._pieces
            if connection is self._pieces[0][0]
        ]

    async def wait_until_idle(self, seconds: float) -> None:
        """Wait until no byte has arrived for ``seconds``."""
        loop = asyncio.get_running_loop()
        while (left := self._last_piece_at + seconds - loop.time()) > 0:  # noqa: ASYNC110 - idleness is no event
            await asyncio.sleep(left)

    async def start(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection()
        self._connections.add(connection)
        try:
            upstream = await self._connect()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(
                        self._forward(connection, FlowDirection.TO_SERVER, reader, upstream[1])
                    )
                    group.create_task(
                        self._forward(connection, FlowDirection.TO_CLIENT, upstream[0], writer)
                    )
            finally:
                upstream[1].close()
        except* (OSError, _Ended):
            pass
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _forward(
        self,
        connection: "_Connection",
        direction: FlowDirection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while piece := await reader.read(_PIECE):
            self._pieces.append((connection, direction, len(piece)))
            self._last_piece_at = asyncio.get_running_loop().time()
            if forwarded := connection.forwarded(direction, piece):
                writer.write(forwarded)
                await writer.drain()
        raise _Ended


class _Connection:
    """One connection, and how many bytes it still forwards."""

    def __init__(self) -> None:
        self._left: dict[FlowDirection, int] = {}
        self._lost: set[FlowDirection] = set()

    def stall(self, direction: FlowDirection, after: int) -> None:
        self._left[direction] = after

    def resume(self) -> None:
        self._left.clear()

    def forwarded(self, direction: FlowDirection, piece: bytes) -> bytes:
        """The part of ``piece`` that is forwarded."""
        left = 0 if direction in self._lost else self._left.get(direction)
        if left is None:
            return piece
        if left < len(piece):
            self._lost.add(direction)
        self._left[direction] = max(0, left - len(piece))
        return piece[:left]


class _Ended(Exception):
    """One side closed: the other is closed, too, whatever has not arrived yet."""


@asynccontextmanager
async def stalling_proxy(connect: Connect) -> AsyncGenerator[StallingProxy]:
    """A started proxy. *Resources*: the proxy, until the end of the block."""
    proxy = StallingProxy(connect)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
