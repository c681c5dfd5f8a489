"""Several engines as one service, started concurrently.

Invariant: all are up, or none is and the error is that of the first that failed. Stopping continues
whatever one of them raises. A lifecycle starts its services in order, because each may need those
before it; engines do not need one another, so together they start as fast as the slowest.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from paceline.concurrency import LimitedTaskGroup
from paceline.errors import wrap


class Engine(Protocol):
    """A server that can be started, stopped and watched."""

    @property
    def name(self) -> str:
        """Its name in errors."""
        ...

    async def start(self) -> None:
        """Start it; it is ready when this returns."""
        ...

    async def stop(self) -> None:
        """Stop it."""
        ...

    async def wait(self) -> None:
        """Wait while it runs. Errors: when it has ended without `stop`."""
        ...


class EngineGroup:
    """Starts, watches and stops ``engines`` concurrently. Errors: ``ValueError`` without any."""

    name = "engines"

    def __init__(self, engines: Sequence[Engine]) -> None:
        if not engines:
            raise ValueError("an EngineGroup needs at least one engine")
        self._engines = tuple(engines)

    async def start(self) -> None:
        """Start all. Errors: that of the first that fails; the others are stopped then."""
        try:
            async with LimitedTaskGroup(limit=len(self._engines)) as group:
                for engine in self._engines:
                    await group.go(_start, engine)
        except BaseException:
            await self._stop_all()
            raise

    async def stop(self) -> None:
        """Stop all. Errors: that of the first, in the order given, that did not stop cleanly."""
        if failures := await self._stop_all():
            raise failures[0]

    async def wait(self) -> None:
        """Watch all. Errors: that of the first that has ended without `stop`."""
        async with LimitedTaskGroup(limit=len(self._engines)) as group:
            for engine in self._engines:
                await group.go(engine.wait)

    async def _stop_all(self) -> list[BaseException]:
        stops = (engine.stop() for engine in self._engines)
        ends = await asyncio.gather(*stops, return_exceptions=True)
        return [end for end in ends if end is not None]


async def _start(engine: Engine) -> None:
    with wrap("start {}", engine.name):
        await engine.start()
