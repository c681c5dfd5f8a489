"""A load balancer as small as can be: it asks ``/ready`` and deals out TCP connections.

What it accepts it passes on, byte by byte, to one of the backends that were ready when last asked;
it never sends anything twice. Whoever goes away mid-connection is gone for its client, too, so what
a backend does at its end is what clients see. Used by ``test_rolling``.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

_INTERVAL = 0.1
_READY = b"HTTP/1.1 200"


@dataclass(eq=False)
class Backend:
    """Where ``/ready`` is asked, and where connections go."""

    health: int
    port: int
    ready: bool = False

    async def look(self) -> None:
        """Ask once, on a connection of its own."""
        answer = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.health)
                try:
                    writer.write(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    answer = await reader.read()
                finally:
                    writer.close()
        self.ready = answer.startswith(_READY)


@dataclass(eq=False)
class Balancer:
    """``port`` is where its clients connect. ``lost``: connections for which nobody was ready."""

    backends: Sequence[Backend]
    port: int = 0
    lost: int = 0
    _turn: "count[int]" = field(default_factory=count)
    _passing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def until_ready(self, backend: Backend, *, ready: bool) -> None:
        """Wait until it was seen so."""
        async with asyncio.timeout(60):
            while backend.ready != ready:  # noqa: ASYNC110 - seen at intervals
                await asyncio.sleep(_INTERVAL / 2)

    async def watch(self) -> None:
        """Ask every backend at intervals, until cancelled."""
        while True:
            await asyncio.gather(*(backend.look() for backend in self.backends))
            await asyncio.sleep(_INTERVAL)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client for as long as both sides want."""
        ready = [backend for backend in self.backends if backend.ready]
        try:
            chosen = ready[next(self._turn) % len(ready)]
            there = await asyncio.open_connection("127.0.0.1", chosen.port)
        except (OSError, ZeroDivisionError):
            self.lost += 1
            writer.close()
            return
        await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and the end of it."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def balancing(*backends: Backend) -> AsyncGenerator[Balancer]:
    """A balancer before these, with all of them ready. *Resources*: its socket and tasks."""
    balancer = Balancer(backends)
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(balancer.accept, "127.0.0.1", 0)
        stack.callback(server.close)
        balancer.port = server.sockets[0].getsockname()[1]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        watching = group.create_task(balancer.watch())
        stack.callback(watching.cancel)
        for backend in backends:
            await balancer.until_ready(backend, ready=True)
        yield balancer
