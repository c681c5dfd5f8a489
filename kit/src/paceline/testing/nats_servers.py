"""A real NATS for tests: one server, or a cluster of three.

Tests share the session's server, so each uses streams of its own, with names and subjects that no
other test uses, and deletes them. Independent of pytest.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from paceline.engines import EngineError, NatsEngine, NatsNode, free_ports
from paceline.testing.logs import SilentLog

_ATTEMPTS: Final = 3


def new_test_nats(folder: Path) -> NatsEngine:
    """A server on ``folder``, not started; not bound to an event loop."""
    return NatsEngine(SilentLog(), data_dir=folder)


def new_nats_cluster(folder: Path, *, size: int = 3) -> list[NatsEngine]:
    """The servers of a cluster, each in a folder of its own. Not started.

    Start them together: none is ready before most of them are.
    """
    secret = secrets.token_hex(16)
    ports = free_ports(size)
    nodes = [
        NatsNode(f"node-{number}", "test", port, ports, secret)
        for number, port in enumerate(ports, start=1)
    ]
    return [NatsEngine(SilentLog(), data_dir=folder / node.name, node=node) for node in nodes]


@asynccontextmanager
async def nats_cluster(folder: Path, *, size: int = 3) -> AsyncGenerator[list[NatsEngine]]:
    """A running cluster. A client takes the URLs of all its servers.

    *Resources*: the servers, until the end of the block; the block may stop some of them.
    """
    engines = await _started(folder, size)
    try:
        yield engines
    finally:
        await _stop(engines)


async def _started(folder: Path, size: int) -> list[NatsEngine]:
    """Tries several times, because another process may take a port after it was chosen."""
    for attempt in range(1, _ATTEMPTS):
        engines = new_nats_cluster(folder / f"attempt-{attempt}", size=size)
        try:
            await _start(engines)
        except EngineError:
            continue
        return engines
    engines = new_nats_cluster(folder / "last-attempt", size=size)
    await _start(engines)
    return engines


async def _start(engines: Sequence[NatsEngine]) -> None:
    """Start all or none."""
    try:
        await asyncio.gather(*(engine.start() for engine in engines))
    except BaseException:
        await _stop(engines)
        raise


async def _stop(engines: Sequence[NatsEngine]) -> None:
    await asyncio.gather(*(engine.stop() for engine in engines))
