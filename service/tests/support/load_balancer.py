"""A minimal TCP load balancer: it polls ``/ready`` and distributes connections round-robin.

Each connection is forwarded to one of the backends that were ready at the last poll, and never
retried. When the backend closes it, it is closed for the client, too, so clients see what a backend
does when it stops.
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
    """``health``: the port of ``/ready``; ``port``: where connections are forwarded."""

    health: int
    port: int
    ready: bool = False

    async def check_ready(self) -> None:
        """Request ``/ready`` once, on a connection of its own."""
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
class LoadBalancer:
    """``port`` is where its clients connect. ``rejected``: connections while no backend was ready."""

    backends: Sequence[Backend]
    port: int = 0
    rejected: int = 0
    _next: "count[int]" = field(default_factory=count)

    async def until_ready(self, backend: Backend, *, ready: bool) -> None:
        """Wait until a poll has found it ready, or not."""
        async with asyncio.timeout(60):
            while backend.ready != ready:  # noqa: ASYNC110 - polled
                await asyncio.sleep(_INTERVAL / 2)

    async def poll(self) -> None:
        """Check every backend at intervals, until cancelled."""
        while True:
            await asyncio.gather(*(backend.check_ready() for backend in self.backends))
            await asyncio.sleep(_INTERVAL)

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection until either side closes it."""
        ready = [backend for backend in self.backends if backend.ready]
        try:
            chosen = ready[next(self._next) % len(ready)]
            there = await asyncio.open_connection("127.0.0.1", chosen.port)
        except (OSError, ZeroDivisionError):
            self.rejected += 1
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes, and the end of the stream."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def load_balancer(*backends: Backend) -> AsyncGenerator[LoadBalancer]:
    """A load balancer for these backends, once all are ready. *Resources*: its socket and tasks."""
    balancer = LoadBalancer(backends)
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(balancer.forward, "127.0.0.1", 0)
        stack.callback(server.close)
        balancer.port = server.sockets[0].getsockname()[1]
        group = await stack.enter_async_context(asyncio.TaskGroup())
        polling = group.create_task(balancer.poll())
        stack.callback(polling.cancel)
        for backend in backends:
            await balancer.until_ready(backend, ready=True)
        yield balancer
