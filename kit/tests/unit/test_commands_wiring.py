"""Parts of a process are registered once: started, stopped, measured and checked by that."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from paceline.commands import HttpSettings, Process, ProcessSpec, Wiring
from paceline.errors import Code, Error
from paceline.http import TestClient
from paceline.stats import StatsEntry
from paceline.testing import RecordingLog


@dataclass(frozen=True)
class Figures:
    calls: int = 7
    retries: int = 2
    denied: int = 1


class Part:
    """Starts, stops, and has figures; ``story`` records both."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self._story = story

    async def start(self) -> None:
        self._story.append(f"start {self.name}")

    async def stop(self) -> None:
        self._story.append(f"stop {self.name}")

    def stats_entries(self) -> Iterable[StatsEntry]:
        yield StatsEntry("retries", self.name, Figures)


class Listening(Part):
    """A server."""

    port = 8080

    async def stop_accepting(self) -> None:
        self._story.append(f"{self.name} stops accepting")


class Repository:
    """Made of two parts, and nothing to start itself."""

    def __init__(self, story: list[str]) -> None:
        self.parts: Sequence[object] = (Part("reads", story), Part("writes", story))


def wiring(
    log: RecordingLog, *, listens: bool = False, works: bool = False, max_in_flight: int = 1024
) -> Wiring:
    config = HttpSettings(admin_port=0, max_in_flight=max_in_flight)
    process = ProcessSpec(
        service="things", version="1", listens=listens, serves=not works, works=works
    )
    return Wiring(config, log, process)


async def state_of(process: Process) -> dict[str, list[dict[str, object]]]:
    assert process.admin is not None
    found: dict[str, list[dict[str, object]]] = (
        await TestClient(process.app, headers={"host": "127.0.0.1"}).get("/debug/state")
    ).json()
    return found


async def test_parts_start_as_they_were_added_and_stop_in_reverse_after_the_servers() -> None:
    story: list[str] = []
    made = wiring(RecordingLog())
    made.add(Part("pool", story))
    made.add(Repository(story))
    made.add_stream_source(Part("feed", story))
    made.add_server(Listening("http", story))
    process = made.finish()
    async with process.lifecycle:
        assert story == ["start pool", "start reads", "start writes", "start http", "start feed"]
        story.clear()
    assert story == [
        "http stops accepting", "stop feed", "stop http", "stop writes", "stop reads", "stop pool",
    ]  # fmt: skip


async def test_what_is_added_is_measured_and_shown_by_the_admin_port() -> None:
    made = wiring(RecordingLog(), listens=True)
    made.add(Repository([]))
    process = made.finish()
    async with process.lifecycle:
        shown = (await state_of(process))["retries"]
        assert made.metrics is not None
        exposition, _ = await made.metrics.scrape()
    assert [each["name"] for each in shown] == ["reads", "writes"]
    assert b'paceline_retries_total{operation="writes"} 2.0' in exposition


async def test_what_is_added_decides_about_readiness() -> None:
    async def fails() -> None:
        raise Error(Code.UNAVAILABLE, "the server cannot be reached")

    async def passes() -> None:
        return

    made = wiring(RecordingLog())
    made.add(Part("pool", []), ready={"database": passes})
    made.add(Part("bus", []), ready={"queue": fails})
    made.finish()
    report = await made.health.ready()
    assert not report.ready
    assert [(each.name, each.ok) for each in report.results] == [
        ("database", True), ("queue", False),
    ]  # fmt: skip


async def test_two_checks_of_one_name_are_refused() -> None:
    async def passes() -> None:
        return

    made = wiring(RecordingLog())
    made.add(Part("pool", []), ready={"database": passes})
    with pytest.raises(ValueError, match="two checks are called database"):
        made.add(Part("other", []), ready={"database": passes})


def test_what_can_be_neither_started_nor_measured_nor_checked_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot be started, measured or checked"):
        wiring(RecordingLog()).add(object())


async def test_load_shedding_is_shown_of_every_process() -> None:
    process = wiring(RecordingLog(), listens=True, works=True).finish()
    async with process.lifecycle:
        (shown,) = (await state_of(process))["shedders"]
    assert shown["in_flight"] == 0


async def test_a_worker_under_load_slows_its_fetching() -> None:
    made = wiring(RecordingLog(), works=True, max_in_flight=1)
    process = made.finish()

    async def has_capacity() -> bool:
        waiting = asyncio.create_task(made.shedder.wait_for_capacity())
        await asyncio.sleep(0)
        waiting.cancel()
        return waiting.done() and not waiting.cancelled()

    async with process.lifecycle:
        assert await has_capacity()
        permit = made.shedder.admit_background()
        async with asyncio.timeout(5):
            while await has_capacity():  # noqa: ASYNC110 - a timer closes it
                await asyncio.sleep(0.005)
        permit.release()
        async with asyncio.timeout(5):
            while not await has_capacity():  # noqa: ASYNC110 - a timer opens it
                await asyncio.sleep(0.005)


def test_nothing_is_added_to_a_finished_wiring() -> None:
    made = wiring(RecordingLog())
    made.finish()
    with pytest.raises(RuntimeError, match="register every part before"):
        made.add(Part("late", []))
    with pytest.raises(RuntimeError, match="register every part before"):
        made.add_server(Listening("late", []))


def test_a_process_tells_the_limits_that_it_has_and_no_others() -> None:
    limits = wiring(RecordingLog(), works=True).finish().limits
    assert set(limits) == {"max_in_flight", "shed_delay"}


def test_an_admin_port_for_other_machines_needs_a_token() -> None:
    config = HttpSettings(admin_host="0.0.0.0")  # noqa: S104 - what is refused
    with pytest.raises(Error, match="APP_ADMIN_TOKEN"):
        Wiring(config, RecordingLog(), ProcessSpec(service="things", version="1"))
