"""What a supervisor decides, with workers that do as the test says."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from paceline.commands.prefork.workers import Notice, Workers
from paceline.errors import Code, Error
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

PATIENCE = 5.0


@dataclass(eq=False)
class FakeWorker:
    """Implements ``workers.Worker``; obeys unless it is ``deaf``."""

    pid: int
    number: int
    deaf: bool = False
    status_when_told: int = 0
    told: list[Notice] = field(default_factory=list[Notice])
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: "asyncio.Future[int]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def ready(self) -> bool:
        said = asyncio.create_task(self.is_ready.wait())
        self.ended.add_done_callback(lambda _: said.cancel())
        try:
            await asyncio.wait({said})
        finally:
            said.cancel()
        return not self.ended.done()

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)
        if notice == "kill":
            self.end(-9)
        elif not self.deaf:
            self.end(self.status_when_told)

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)


@dataclass
class Stage:
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

    def supervising(
        self, *, count: int = 2, start_timeout: float = PATIENCE, stop_timeout: float = PATIENCE
    ) -> Workers[FakeWorker]:
        return Workers(
            self.spawn,
            self.log,
            self.clock,
            count=count,
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            lasting=10.0,
            pauses=(0.0, 0.001),
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.001)

    async def until_spawned(self, count: int) -> None:
        await self.until(lambda: len(self.workers) == count)

    def alive(self) -> list[int]:
        return [worker.number for worker in self.workers if not worker.ended.done()]


@asynccontextmanager
async def started(
    stage: Stage, *, count: int = 2, start_timeout: float = PATIENCE, stop_timeout: float = PATIENCE
) -> AsyncGenerator[Workers[FakeWorker]]:
    """Workers that are up; at the end no process and no task may be left."""
    before = asyncio.all_tasks()
    workers = stage.supervising(count=count, start_timeout=start_timeout, stop_timeout=stop_timeout)
    await workers.start()
    try:
        yield workers
    finally:
        await workers.stop()
    assert stage.alive() == []
    await asyncio.sleep(0)  # what was cancelled unwinds
    assert asyncio.all_tasks() <= before


async def until_ready_again(stage: Stage) -> None:
    """Wait for one more worker that is ready than now."""
    ready = stage.log.events("info").count("worker ready")
    await stage.until(lambda: stage.log.events("info").count("worker ready") > ready)


def refuse(worker: FakeWorker) -> None:
    worker.end(1)


async def test_all_start_side_by_side_and_start_returns_when_each_is_ready() -> None:
    stage = Stage(prepare=lambda _: None)
    workers = stage.supervising()
    starting = asyncio.create_task(workers.start())
    await stage.until(lambda: len(stage.workers) == 2)
    stage.workers[0].is_ready.set()
    await asyncio.sleep(0.01)
    assert not starting.done()
    stage.workers[1].is_ready.set()
    await starting
    await workers.stop()
    assert [worker.told for worker in stage.workers] == [["stop"], ["stop"]]


async def test_a_worker_that_never_starts_fails_the_whole_after_a_few_attempts() -> None:
    stage = Stage(
        prepare=lambda worker: refuse(worker) if worker.number == 2 else worker.is_ready.set()
    )
    workers = stage.supervising()
    with pytest.raises(Error, match="worker 2 did not get ready in 3 attempts") as caught:
        await workers.start()
    assert caught.value.code is Code.FAILED_PRECONDITION
    await workers.stop()
    assert [worker.number for worker in stage.workers].count(2) == 3
    assert stage.alive() == []


async def test_a_worker_that_hangs_at_its_start_is_killed_and_tried_again() -> None:
    stage = Stage()
    stage.prepare = lambda worker: worker.is_ready.set() if worker.pid > 100 else None
    async with started(stage, count=1, start_timeout=0.02):
        assert stage.workers[0].told == ["kill"]
        assert stage.alive() == [1]


async def test_a_program_that_cannot_be_started_is_a_failed_attempt() -> None:
    def spawn(_: int) -> FakeWorker:
        raise FileNotFoundError(2, "no such file")

    log = RecordingLog()
    workers = Workers(spawn, log, ManualClock(), count=1, pauses=(0.0,))
    with pytest.raises(Error, match="did not get ready"):
        await workers.start()
    await workers.stop()
    assert log.events("error") == ["worker could not be started"] * 3


async def test_a_dead_worker_is_replaced_and_the_others_are_left_alone() -> None:
    stage = Stage()
    async with started(stage):
        stage.workers[0].end(-9)
        await stage.until(lambda: len(stage.workers) == 3)
        await stage.until(lambda: stage.log.events("info").count("worker ready") == 3)
        assert stage.workers[2].number == 1
        assert stage.workers[1].told == []


async def test_nobody_gives_up_on_a_slot_once_all_were_up() -> None:
    stage = Stage()
    async with started(stage) as workers:
        stage.prepare = refuse
        stage.workers[0].end(1)
        await stage.until(lambda: len(stage.workers) > 8)
        assert workers.slots[0].failures > 3
        stage.prepare = lambda worker: worker.is_ready.set()
        await stage.until(lambda: workers.slots[0].worker is not None)
        assert stage.alive() == [2, 1]


async def test_only_deaths_of_workers_that_did_not_last_make_the_pauses_grow() -> None:
    stage = Stage()
    async with started(stage, count=1) as workers:
        for _ in range(3):
            stage.workers[-1].end(1)
            await until_ready_again(stage)
        assert workers.slots[0].failures == 3
        stage.clock.advance(11.0)
        stage.workers[-1].end(1)
        await until_ready_again(stage)
        assert workers.slots[0].failures == 0


async def test_a_reload_lets_each_leave_only_when_its_successor_is_ready() -> None:
    stage = Stage()
    async with started(stage) as workers:
        stage.prepare = lambda _: None
        reloading = asyncio.create_task(workers.reload())
        for slot in (1, 2):
            await stage.until_spawned(2 + slot)
            old, new = stage.workers[slot - 1], stage.workers[-1]
            assert (new.number, old.told) == (slot, [])
            assert len(stage.alive()) == 3
            new.is_ready.set()
            await old.wait()
            assert old.told == ["leave"]
        assert await reloading
        assert stage.alive() == [1, 2]


async def test_a_reload_that_does_not_get_ready_changes_nothing() -> None:
    stage = Stage()
    async with started(stage) as workers:
        stage.prepare = refuse
        assert not await workers.reload()
        assert [worker.told for worker in stage.workers] == [[], [], []]
        assert "reload given up: the workers there are go on" in stage.log.events("error")
        assert stage.alive() == [1, 2]


async def test_a_worker_that_dies_while_it_is_exchanged_is_not_replaced_twice() -> None:
    stage = Stage()
    async with started(stage, count=1) as workers:
        stage.prepare = lambda _: None
        reloading = asyncio.create_task(workers.reload())
        await stage.until(lambda: len(stage.workers) == 2)
        stage.workers[0].end(-9)
        await asyncio.sleep(0.01)
        stage.workers[1].is_ready.set()
        assert await reloading
        await asyncio.sleep(0.01)
        assert len(stage.workers) == 2


async def test_a_worker_that_will_not_leave_is_killed() -> None:
    stage = Stage()
    async with started(stage, count=1, stop_timeout=0.02) as workers:
        stage.workers[0].deaf = True
        assert await workers.reload()
        assert stage.workers[0].told == ["leave", "kill"]


async def test_hangups_that_come_together_are_one_more_reload() -> None:
    stage = Stage()
    async with started(stage, count=1):
        stage.prepare = lambda _: None
        os.kill(os.getpid(), signal.SIGHUP)
        await stage.until(lambda: len(stage.workers) == 2)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.01)
        stage.prepare = lambda worker: worker.is_ready.set()
        stage.workers[1].is_ready.set()
        await stage.until(lambda: stage.log.events("info").count("reloaded") == 2)
        await asyncio.sleep(0.01)
        assert stage.log.events("info").count("reloaded") == 2


async def test_a_stop_in_the_middle_of_a_reload_ends_old_and_new() -> None:
    stage = Stage()
    async with started(stage) as workers:
        stage.prepare = lambda _: None
        reloading = asyncio.create_task(workers.reload())
        await stage.until(lambda: len(stage.workers) == 3)
        reloading.cancel()
    assert [worker.told for worker in stage.workers] == [["stop"]] * 3


async def test_a_stop_tells_of_workers_that_cut_work_short() -> None:
    stage = Stage()
    workers = stage.supervising()
    await workers.start()
    stage.workers[0].status_when_told = 3
    with pytest.raises(Error, match="workers ended with status 3"):
        await workers.stop()


async def test_a_stop_that_is_cancelled_tells_them_again_and_kills_who_stays() -> None:
    stage = Stage()
    workers = stage.supervising()
    await workers.start()
    for worker in stage.workers:
        worker.deaf = True
    stopping = asyncio.create_task(workers.stop())
    await stage.until(lambda: all(worker.told for worker in stage.workers))
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert [worker.told for worker in stage.workers] == [["stop", "stop", "kill"]] * 2


async def test_stopping_before_starting_and_twice_is_fine() -> None:
    stage = Stage()
    workers = stage.supervising()
    await workers.stop()
    await workers.start()
    await workers.stop()
    await workers.stop()
    assert stage.alive() == []
