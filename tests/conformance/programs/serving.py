"""Runs a server until SIGTERM or SIGINT, and prints its port when it listens."""

import asyncio
import signal
import sys
from typing import Protocol

import uvloop


class Server(Protocol):
    """A server of ours."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    async def start(self) -> None:
        """Listen."""
        ...

    async def stop(self) -> None:
        """Finish and close."""
        ...


def run(server: Server) -> None:
    """Print the port, and serve until the process is told to end, on the loop of the commands."""
    uvloop.run(_serve(server))


async def _serve(server: Server) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await server.start()
    try:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        await told.wait()
    finally:
        async with asyncio.timeout(10):
            await server.stop()
