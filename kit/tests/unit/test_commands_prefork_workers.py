"""What a supervisor decides, with fake workers."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from paceline.commands.prefork.workers import Ending, Workers
from paceline.errors import Code, Error
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

PATIENCE = 5.0


@dataclass(eq=False)
class FakeWorker:
    """Implements ``workers.Worker``; ends when asked, unless it is ``deaf``."""

    pid: int
    number: int
    deaf: bool = False
    exit_status: int = 0
    silent: bool = False
    shown: int = 0
    endings: list[Ending] = field(default_factory=list[Ending])
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: "asyncio.Future[int]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def beats(self) -> int:
        self.shown += not self.silent
        return self.shown

    async def ready(self) -> bool:
        reported = asyncio.create_task(self.is_ready.wait())
        self.ended.add_done_callback(lambda _: reported.cancel())
        try:
            await asyncio.wait({reported})
        finally:
            reported.cancel()
        return not self.ended.done()

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def end(self, how: Ending) -> None:
        self.endings.append(how)
        if how == "kill":
            self.exit(-9)
        elif not self.deaf:
            self.exit(self.exit_status)

    def exit(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)


@dataclass
class Fakes:
    """Spawns workers, each prepared by ``prepare``, and keeps them all."""

    prepare: Callable[[FakeWorker], None] = lambda worker: worker.is_ready.set()
    workers: list[FakeWorker] = field(default_factory=list[FakeWorker])
    log: RecordingLog = field(default_factory=RecordingLog)
    clock: ManualClock = field(default_factory=ManualClock)

    def spawn(self, number: int) -> FakeWorker:
        worker = FakeWorker(100 + len(self.workers), number)
        self.workers.append(worker)
        self.prepare(worker)
        return worker

    def new_workers(
        self, *, count: int = 2, start_timeout: float = PATIENCE, stop_timeout: float = PATIENCE
    ) -> Workers[FakeWorker]:
        return Workers(
            self.spawn,
            self.log,
            self.clock,
            count=count,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            stable_after=10.0,
            backoff=(0.0, 0.001),
            max_silence=0.06,
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110 - a fake has no event
                await asyncio.sleep(0.001)

    async def until_spawned(self, count: int) -> None:
        await self.until(lambda: len(self.workers) == count)

    def alive(self) -> list[int]:
        return [worker.number for worker in self.workers if not worker.ended.done()]


@asynccontextmanager
async def started(
    fakes: Fakes, *, count: int = 2, start_timeout: float = PATIENCE, stop_timeout: float = PATIENCE
) -> AsyncGenerator[Workers[FakeWorker]]:
    """Workers that are up; at the end no process and no task may be left."""
    before = asyncio.all_tasks()
    workers = fakes.new_workers(count=count, start_timeout=start_timeout, stop_timeout=stop_timeout)
    await workers.start()
    try:
        yield workers
    finally:
        await workers.stop()
    assert fakes.alive() == []
    await asyncio.sleep(0)  # what was cancelled unwinds
    assert asyncio.all_tasks() <= before


async def until_ready_again(fakes: Fakes) -> None:
    """Wait for one more worker that is ready than now."""
    ready = fakes.log.events("info").count("worker ready")
    await fakes.until(lambda: fakes.log.events("info").count("worker ready") > ready)


def refuse(worker: FakeWorker) -> None:
    worker.exit(1)


async def test_a_worker_that_falls_silent_is_killed_and_replaced() -> None:
    fakes = Fakes()
    async with started(fakes):
        fakes.workers[0].silent = True
        await fakes.until_spawned(3)
        assert fakes.workers[0].endings == ["kill"]
        assert fakes.workers[2].number == fakes.workers[0].number
        assert "worker is silent and is killed" in fakes.log.events("error")
        assert fakes.workers[1].endings == []


async def test_all_start_side_by_side_and_start_returns_when_each_is_ready() -> None:
    fakes = Fakes(prepare=lambda _: None)
    workers = fakes.new_workers()
    starting = asyncio.create_task(workers.start())
    await fakes.until(lambda: len(fakes.workers) == 2)
    fakes.workers[0].is_ready.set()
    await asyncio.sleep(0.01)
    assert not starting.done()
    fakes.workers[1].is_ready.set()
    await starting
    await workers.stop()
    assert [worker.endings for worker in fakes.workers] == [["terminate"], ["terminate"]]


async def test_a_worker_that_never_starts_fails_the_whole_after_a_few_attempts() -> None:
    fakes = Fakes(
        prepare=lambda worker: refuse(worker) if worker.number == 2 else worker.is_ready.set()
    )
    workers = fakes.new_workers()
    with pytest.raises(Error, match="worker 2 did not get ready in 3 attempts") as caught:
        await workers.start()
    assert caught.value.code is Code.FAILED_PRECONDITION
    await workers.stop()
    assert [worker.number for worker in fakes.workers].count(2) == 3
    assert fakes.alive() == []


async def test_a_worker_that_hangs_at_its_start_is_killed_and_tried_again() -> None:
    fakes = Fakes()
    fakes.prepare = lambda worker: worker.is_ready.set() if worker.pid > 100 else None
    async with started(fakes, count=1, start_timeout=0.02):
        assert fakes.workers[0].endings == ["kill"]
        assert fakes.alive() == [1]


async def test_a_program_that_cannot_be_started_is_a_failed_attempt() -> None:
    def spawn(_: int) -> FakeWorker:
        raise FileNotFoundError(2, "no such file")

    log = RecordingLog()
    workers = Workers(spawn, log, ManualClock(), count=1, backoff=(0.0,))
    with pytest.raises(Error, match="did not get ready"):
        await workers.start()
    await workers.stop()
    assert log.events("error") == ["worker could not be started"] * 3


async def test_a_dead_worker_is_replaced_and_the_others_are_left_alone() -> None:
    fakes = Fakes()
    async with started(fakes):
        fakes.workers[0].exit(-9)
        await fakes.until(lambda: len(fakes.workers) == 3)
        await fakes.until(lambda: fakes.log.events("info").count("worker ready") == 3)
        assert fakes.workers[2].number == 1
        assert fakes.workers[1].endings == []


async def test_attempts_have_no_limit_once_all_were_up() -> None:
    fakes = Fakes()
    async with started(fakes) as workers:
        fakes.prepare = refuse
        fakes.workers[0].exit(1)
        await fakes.until(lambda: len(fakes.workers) > 8)
        assert workers.slots[0].failures > 3
        fakes.prepare = lambda worker: worker.is_ready.set()
        await fakes.until(lambda: workers.slots[0].worker is not None)
        assert fakes.alive() == [2, 1]


async def test_only_deaths_of_short_lived_workers_make_the_pauses_grow() -> None:
    fakes = Fakes()
    async with started(fakes, count=1) as workers:
        for _ in range(3):
            fakes.workers[-1].exit(1)
            await until_ready_again(fakes)
        assert workers.slots[0].failures == 3
        fakes.clock.advance(11.0)
        fakes.workers[-1].exit(1)
        await until_ready_again(fakes)
        assert workers.slots[0].failures == 0


async def test_a_reload_retires_each_worker_only_when_its_successor_is_ready() -> None:
    fakes = Fakes()
    async with started(fakes) as workers:
        fakes.prepare = lambda _: None
        reloading = asyncio.create_task(workers.reload())
        for slot in (1, 2):
            await fakes.until_spawned(2 + slot)
            old, new = fakes.workers[slot - 1], fakes.workers[-1]
            assert (new.number, old.endings) == (slot, [])
            assert len(fakes.alive()) == 3
            new.is_ready.set()
            await old.wait()
            assert old.endings == ["retire"]
        assert await reloading
        assert fakes.alive() == [1, 2]


async def test_a_reload_that_does_not_get_ready_changes_nothing() -> None:
    fakes = Fakes()
    async with started(fakes) as workers:
        fakes.prepare = refuse
        assert not await workers.reload()
        assert [worker.endings for worker in fakes.workers] == [[], [], []]
        assert "reload failed: the old workers go on" in fakes.log.events("error")
        assert fakes.alive() == [1, 2]


async def test_a_worker_that_dies_while_it_is_replaced_is_not_replaced_twice() -> None:
    fakes = Fakes()
    async with started(fakes, count=1) as workers:
        fakes.prepare = lambda _: None
        reloading = asyncio.create_task(workers.reload())
        await fakes.until(lambda: len(fakes.workers) == 2)
        fakes.workers[0].exit(-9)
        await asyncio.sleep(0.01)
        fakes.workers[1].is_ready.set()
        assert await reloading
        await asyncio.sleep(0.01)
        assert len(fakes.workers) == 2


async def test_a_worker_that_does_not_retire_in_time_is_killed() -> None:
    fakes = Fakes()
    async with started(fakes, count=1, stop_timeout=0.02) as workers:
        fakes.workers[0].deaf = True
        assert await workers.reload()
        assert fakes.workers[0].endings == ["retire", "kill"]


async def test_hangups_that_come_together_are_one_more_reload() -> None:
    fakes = Fakes()
    async with started(fakes, count=1):
        fakes.prepare = lambda _: None
        os.kill(os.getpid(), signal.SIGHUP)
        await fakes.until(lambda: len(fakes.workers) == 2)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.01)
        fakes.prepare = lambda worker: worker.is_ready.set()
        fakes.workers[1].is_ready.set()
        await fakes.until(lambda: fakes.log.events("info").count("reloaded") == 2)
        await asyncio.sleep(0.01)
        assert fakes.log.events("info").count("reloaded") == 2


async def test_a_stop_in_the_middle_of_a_reload_ends_old_and_new() -> None:
    fakes = Fakes()
    async with started(fakes) as workers:
        fakes.prepare = lambda _: None
        reloading = asyncio.create_task(workers.reload())
        await fakes.until(lambda: len(fakes.workers) == 3)
        reloading.cancel()
    assert [worker.endings for worker in fakes.workers] == [["terminate"]] * 3


async def test_a_stop_reports_workers_that_cut_work_short() -> None:
    fakes = Fakes()
    workers = fakes.new_workers()
    await workers.start()
    fakes.workers[0].exit_status = 3
    with pytest.raises(Error, match="workers ended with status 3"):
        await workers.stop()


async def test_a_cancelled_stop_signals_again_and_kills_what_stays() -> None:
    fakes = Fakes()
    workers = fakes.new_workers()
    await workers.start()
    for worker in fakes.workers:
        worker.deaf = True
    stopping = asyncio.create_task(workers.stop())
    await fakes.until(lambda: all(worker.endings for worker in fakes.workers))
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert [worker.endings for worker in fakes.workers] == [["terminate", "terminate", "kill"]] * 2


async def test_stopping_before_starting_and_twice_is_fine() -> None:
    fakes = Fakes()
    workers = fakes.new_workers()
    await workers.stop()
    await workers.start()
    await workers.stop()
    await workers.stop()
    assert fakes.alive() == []
