"""The lifecycle: order of starts and stops, failures, signals, timeouts, exit codes."""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from paceline.concurrency.deadline import remaining
from paceline.errors import Code, Error, chain
from paceline.lifecycle import ExitCode, Lifecycle
from paceline.testing import RecordingLog


@dataclass
class Piece:
    """A service that appends its starts and stops to a shared list."""

    name: str
    events: list[str]
    start_error: Exception | None = None
    stop_error: Exception | None = None
    slow_start: bool = False
    slow_stop: bool = False
    stubborn: bool = False
    seen_remaining: float | None = None
    seen_at_start: float | None = None

    async def start(self) -> None:
        self.events.append(f"start {self.name}")
        self.seen_at_start = remaining()
        if self.slow_start:
            await asyncio.Event().wait()
        if self.start_error:
            raise self.start_error

    async def stop(self) -> None:
        self.events.append(f"stop {self.name}")
        self.seen_remaining = remaining()
        while self.stubborn:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.events.append(f"ignored {self.name}")
        if self.slow_stop:
            await asyncio.Event().wait()
        if self.stop_error:
            raise self.stop_error
        self.events.append(f"stopped {self.name}")


@dataclass
class WatchedPiece(Piece):
    end: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    async def wait(self) -> None:
        await self.end.wait()
        if self.failure:
            raise self.failure


def term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def pieces(events: list[str]) -> tuple[Piece, Piece, Piece]:
    return Piece("a", events), Piece("b", events), Piece("c", events)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the state of other tasks
        await asyncio.sleep(0)


STARTED_AND_STOPPED = [
    *("start a", "start b", "start c"),
    *("stop c", "stopped c", "stop b", "stopped b", "stop a", "stopped a"),
]


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    events: list[str] = []
    async with Lifecycle(pieces(events), RecordingLog()):
        assert events == STARTED_AND_STOPPED[:3]
    assert events == STARTED_AND_STOPPED


async def test_draining_is_true_from_the_stop_to_the_next_start() -> None:
    lifecycle = Lifecycle([], RecordingLog())
    seen = [lifecycle.draining]
    for change in (lifecycle.start, lifecycle.stop, lifecycle.start):
        await change()
        seen.append(lifecycle.draining)
    assert seen == [False, False, True, False]


async def test_starting_and_stopping_twice_changes_nothing() -> None:
    events: list[str] = []
    lifecycle = Lifecycle(pieces(events), RecordingLog())
    await lifecycle.start()
    await lifecycle.start()
    assert await lifecycle.stop()
    assert await lifecycle.stop()
    assert events == STARTED_AND_STOPPED


async def test_a_stop_without_a_start_does_nothing() -> None:
    events: list[str] = []
    assert await Lifecycle(pieces(events), RecordingLog()).stop()
    assert events == []


async def test_two_stops_at_once_stop_each_service_once() -> None:
    events: list[str] = []
    lifecycle = Lifecycle(pieces(events), RecordingLog())
    await lifecycle.start()
    assert all(await asyncio.gather(lifecycle.stop(), lifecycle.stop()))
    assert events == STARTED_AND_STOPPED


async def test_two_hundred_rounds_leave_no_task_behind() -> None:
    events: list[str] = []
    lifecycle = Lifecycle(pieces(events), RecordingLog())
    for _ in range(200):
        await lifecycle.start()
        assert not lifecycle.draining
        await lifecycle.stop()
    assert events == STARTED_AND_STOPPED * 200
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_service_that_cannot_start_stops_the_others_in_reverse() -> None:
    events: list[str] = []
    services = pieces(events)
    services[1].start_error = Error(Code.UNAVAILABLE, "no such host")
    log = RecordingLog()
    assert await Lifecycle(services, log).run() == ExitCode.FAILED
    assert events == ["start a", "start b", "stop b", "stopped b", "stop a", "stopped a"]
    [(level, event, fields)] = log.lines
    assert (level, event) == ("error", "could not start")
    assert isinstance(fields["error"], Error)
    assert chain(fields["error"]) == "start b: no such host"


async def test_a_start_that_hangs_fails_with_its_name() -> None:
    events: list[str] = []
    services = pieces(events)
    services[1].slow_start = True
    lifecycle = Lifecycle(services, RecordingLog(), start_timeout=0.01)
    with pytest.raises(Error, match=r"start of b took longer than 0.01s") as caught:
        await lifecycle.start()
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert events[-1] == "stopped a"


async def test_a_timeout_error_of_the_service_itself_stays_one() -> None:
    service = Piece("a", [], start_error=TimeoutError("its own"))
    with pytest.raises(TimeoutError, match="its own"):
        await Lifecycle([service], RecordingLog()).start()


async def test_tasks_of_a_service_do_not_inherit_the_deadline_of_its_start() -> None:
    service = Piece("a", [])
    async with Lifecycle([service], RecordingLog(), start_timeout=5):
        assert service.seen_at_start is None


async def test_a_service_can_read_how_long_it_may_take_to_stop() -> None:
    events: list[str] = []
    services = pieces(events)
    async with Lifecycle(services, RecordingLog(), shutdown_timeout=60):
        pass
    assert services[2].seen_remaining is not None
    assert 57 < services[2].seen_remaining <= 58  # the two below keep a second each


async def test_a_stop_that_takes_too_long_is_cancelled_and_the_next_services_still_stop() -> None:
    events: list[str] = []
    services = pieces(events)
    services[2].slow_stop = True
    log = RecordingLog()
    lifecycle = Lifecycle(services, log, shutdown_timeout=0.05)
    await lifecycle.start()
    assert not await lifecycle.stop()
    assert events[-5:] == ["stop c", "stop b", "stopped b", "stop a", "stopped a"]
    [(level, event, fields)] = log.lines
    assert (level, event, fields["service"]) == ("error", "could not stop cleanly", "c")
    assert "stop of c took longer than" in str(fields["error"])


async def test_a_service_that_ignores_its_cancellation_is_abandoned() -> None:
    events: list[str] = []
    services = pieces(events)
    services[2].stubborn = True
    log = RecordingLog()
    lifecycle = Lifecycle(services, log, shutdown_timeout=0.05)
    await lifecycle.start()
    assert not await lifecycle.stop()
    assert events[-1] == "stopped a"
    assert [event for _, event, _ in log.lines] == ["service would not stop"]
    services[2].stubborn = False
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_an_error_while_stopping_is_logged_and_the_others_still_stop() -> None:
    events: list[str] = []
    services = pieces(events)
    services[1].stop_error = Error(Code.DEADLINE_EXCEEDED, "2 requests were cut off")
    log = RecordingLog()
    assert await Lifecycle(services, log).run(term) == ExitCode.UNCLEAN
    assert events[-1] == "stopped a"
    assert [event for _, event, _ in log.lines] == ["stopping", "could not stop cleanly"]


async def test_a_signal_ends_the_run_cleanly() -> None:
    events: list[str] = []
    assert await Lifecycle(pieces(events), RecordingLog()).run(term) == ExitCode.CLEAN
    assert events == STARTED_AND_STOPPED


async def test_the_previous_signal_handlers_are_restored() -> None:
    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        await Lifecycle([], RecordingLog()).run(term)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_draining_begins_at_once_and_lasts_for_the_delay() -> None:
    events: list[str] = []
    lifecycle = Lifecycle(pieces(events), RecordingLog(), drain_delay=0.05)
    running = asyncio.create_task(lifecycle.run(term))
    await until(lambda: lifecycle.draining)
    began = asyncio.get_running_loop().time()
    assert events[-1] == "start c"
    assert await running == ExitCode.CLEAN
    assert asyncio.get_running_loop().time() - began >= 0.04


async def test_a_second_signal_skips_the_delay_and_still_stops_everything() -> None:
    events: list[str] = []
    lifecycle = Lifecycle(pieces(events), RecordingLog(), drain_delay=60)
    running = asyncio.create_task(lifecycle.run(term))
    await until(lambda: lifecycle.draining)
    term()
    assert await running == 128 + signal.SIGTERM
    assert events == STARTED_AND_STOPPED


async def test_a_second_signal_cancels_the_stop_that_is_under_way() -> None:
    events: list[str] = []
    services = pieces(events)
    services[2].slow_stop = True
    log = RecordingLog()
    running = asyncio.create_task(Lifecycle(services, log, shutdown_timeout=60).run(term))
    await until(lambda: "stop c" in events)
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 128 + signal.SIGINT
    assert events[-4:] == ["stop b", "stopped b", "stop a", "stopped a"]
    assert [event for _, event, _ in log.lines] == [
        "stopping",
        "forced to stop",
        "service was forced to stop",
    ]


async def test_a_signal_during_the_start_stops_what_was_started() -> None:
    events: list[str] = []
    services = pieces(events)
    services[1].slow_start = True
    running = asyncio.create_task(Lifecycle(services, RecordingLog()).run())
    await until(lambda: "start b" in events)
    term()
    assert await running == ExitCode.CLEAN
    assert events == ["start a", "start b", "stop b", "stopped b", "stop a", "stopped a"]


@pytest.mark.parametrize("failure", [None, Error(Code.UNAVAILABLE, "exit status 1")])
async def test_when_a_watched_service_ends_the_process_stops(failure: Exception | None) -> None:
    events: list[str] = []
    engine = WatchedPiece("engine", events, failure=failure)
    services = (engine, Piece("b", events))
    log = RecordingLog()
    assert await Lifecycle(services, log).run(engine.end.set) == ExitCode.FAILED
    assert events[-4:] == ["stop b", "stopped b", "stop engine", "stopped engine"]
    assert log.lines == [
        ("error", "service ended by itself", {"service": "engine", "error": failure})
    ]


async def test_cancelling_the_run_stops_everything() -> None:
    events: list[str] = []
    up = asyncio.Event()
    running = asyncio.create_task(
        Lifecycle(pieces(events), RecordingLog(), drain_delay=60).run(up.set)
    )
    await up.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert events == STARTED_AND_STOPPED


async def test_cancelling_the_run_while_it_starts_stops_what_was_started() -> None:
    events: list[str] = []
    services = pieces(events)
    services[1].slow_start = True
    running = asyncio.create_task(Lifecycle(services, RecordingLog()).run())
    await until(lambda: "start b" in events)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert events[-1] == "stopped a"


async def test_cancelling_a_stop_forces_it() -> None:
    events: list[str] = []
    services = pieces(events)
    services[2].slow_stop = True
    lifecycle = Lifecycle(services, RecordingLog())
    await lifecycle.start()
    stopping = asyncio.create_task(lifecycle.stop())
    await until(lambda: "stop c" in events)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert events[-1] == "stopped a"


async def test_an_error_of_the_ready_callback_stops_everything() -> None:
    events: list[str] = []

    def refuse() -> None:
        raise OSError("stdout is gone")

    with pytest.raises(OSError, match="stdout is gone"):
        await Lifecycle(pieces(events), RecordingLog()).run(refuse)
    assert events == STARTED_AND_STOPPED
