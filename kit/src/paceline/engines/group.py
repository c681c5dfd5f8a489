"""Several engines as one service: none waits for another, so a start takes as long as the slowest.

Invariant: all are up, or none is and the error is the first one's. Stopping goes on whatever one of
them raises. A lifecycle starts in order because services need those before them; engines do not.
``main`` hands it to the lifecycle as its first service, made of `EngineService`s.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from paceline.concurrency import LimitedTaskGroup
from paceline.errors import wrap


class EngineService(Protocol):
    """An engine: started, stopped, and watched meanwhile."""

    @property
    def name(self) -> str:
        """How errors call it."""
        ...

    async def start(self) -> None:
        """Be ready when this returns."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...

    async def wait(self) -> None:
        """Raise when it has ended by itself."""
        ...


class EngineGroup:
    """Start, watch and stop ``engines`` side by side; there must be one at least."""

    name = "engines"

    def __init__(self, engines: Sequence[EngineService]) -> None:
        if not engines:
            raise ValueError("there must be an engine at least")
        self._engines = tuple(engines)

    async def start(self) -> None:
        """Bring all up. Errors: that of the first that fails; the others are stopped then."""
        try:
            async with LimitedTaskGroup(limit=len(self._engines)) as group:
                for engine in self._engines:
                    await group.go(_start, engine)
        except BaseException:
            await self._stop_all()
            raise

    async def stop(self) -> None:
        """End all. Errors: that of the first, in the order given, that did not stop cleanly."""
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


async def _start(engine: EngineService) -> None:
    with wrap("start {}", engine.name):
        await engine.start()
