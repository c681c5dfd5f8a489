"""Engines that are started together: all up or none, the first error, every one stopped."""

import asyncio

import pytest

from paceline.engines import EngineError, EngineGroup
from paceline.errors import chain


class FakeEngine:
    """Starts at once, when released, or never."""

    def __init__(
        self,
        name: str,
        *,
        after: asyncio.Event | None = None,
        fails: bool = False,
        fails_to_stop: bool = False,
    ) -> None:
        self.name = name
        self.up = False
        self.stops = 0
        self._after = after
        self._fails = fails
        self._fails_to_stop = fails_to_stop
        self.dead = asyncio.Event()

    async def start(self) -> None:
        if self._after is not None:
            await self._after.wait()
        if self._fails:
            raise EngineError(f"{self.name} will not start")
        self.up = True

    async def stop(self) -> None:
        self.up = False
        self.stops += 1
        if self._fails_to_stop:
            raise EngineError(f"{self.name} will not stop")

    async def wait(self) -> None:
        await self.dead.wait()
        raise EngineError(f"{self.name} died")


async def test_no_engine_waits_for_another() -> None:
    last_is_up = asyncio.Event()

    class Last(FakeEngine):
        async def start(self) -> None:
            await super().start()
            last_is_up.set()

    engines = [FakeEngine("first", after=last_is_up), Last("last")]
    together = EngineGroup(engines)
    await together.start()
    assert all(engine.up for engine in engines)
    await together.stop()
    assert not any(engine.up for engine in engines)


async def test_when_one_fails_none_is_up_and_its_error_is_raised() -> None:
    engines = [
        FakeEngine("up"),
        FakeEngine("broken", fails=True),
        FakeEngine("never up", after=asyncio.Event()),
    ]
    with pytest.raises(EngineError, match="broken will not start") as caught:
        await EngineGroup(engines).start()
    assert "start broken" in chain(caught.value)
    assert [engine.stops for engine in engines] == [1, 1, 1]


async def test_a_cancelled_start_stops_all() -> None:
    one_is_up = asyncio.Event()

    class One(FakeEngine):
        async def start(self) -> None:
            await super().start()
            one_is_up.set()

    engines = [One("up"), FakeEngine("never up", after=asyncio.Event())]
    starting = asyncio.create_task(EngineGroup(engines).start())
    await one_is_up.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not engines[0].up


async def test_all_are_stopped_whatever_one_of_them_raises() -> None:
    engines = [FakeEngine("first", fails_to_stop=True), FakeEngine("second")]
    with pytest.raises(EngineError, match="first will not stop"):
        await EngineGroup(engines).stop()
    assert [engine.stops for engine in engines] == [1, 1]


async def test_waiting_ends_with_the_first_that_ends() -> None:
    engines = [FakeEngine("first"), FakeEngine("second")]
    watch = asyncio.create_task(EngineGroup(engines).wait())
    engines[1].dead.set()
    with pytest.raises(EngineError, match="second died"):
        await watch


def test_a_group_without_engines_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one engine"):
        EngineGroup([])
