"""A process that was replaced stops without the drain delay and without draining."""

import asyncio
import os
import signal

import pytest

from paceline.lifecycle import ExitCode, Lifecycle, OnShutdown
from paceline.testing import RecordingLog


class Slow:
    """A service whose stop waits until the test releases it."""

    name = "slow"

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.release = asyncio.Event()

    async def start(self) -> None:
        self.release.clear()

    async def stop(self) -> None:
        self.stopping.set()
        await self.release.wait()


async def running(
    service: Slow, *, drain_delay: float = 60.0
) -> tuple[Lifecycle, asyncio.Task[int]]:
    lifecycle = Lifecycle([service], RecordingLog(), drain_delay=drain_delay, shutdown_timeout=5)
    up = asyncio.Event()
    task = asyncio.create_task(lifecycle.run(up.set))
    await up.wait()
    return lifecycle, task


async def test_it_skips_the_drain_delay_and_is_not_draining() -> None:
    service = Slow()
    lifecycle, task = await running(service)
    lifecycle.hand_over()
    async with asyncio.timeout(5):
        await service.stopping.wait()
    assert not lifecycle.draining
    service.release.set()
    assert await task == ExitCode.CLEAN


async def test_a_signal_after_it_is_the_first_and_forces_nothing() -> None:
    service = Slow()
    lifecycle, task = await running(service)
    lifecycle.hand_over()
    await service.stopping.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        while not lifecycle.draining:  # noqa: ASYNC110 - a signal handler runs in its own time
            await asyncio.sleep(0)
    assert not task.done()
    service.release.set()
    assert await task == ExitCode.CLEAN


async def test_it_does_nothing_once_a_signal_came() -> None:
    service = Slow()
    lifecycle, task = await running(service, drain_delay=0.0)
    os.kill(os.getpid(), signal.SIGTERM)
    await service.stopping.wait()
    lifecycle.hand_over()
    assert lifecycle.draining
    service.release.set()
    assert await task == ExitCode.CLEAN


async def test_shutdown_actions_run_once_and_in_order() -> None:
    done: list[str] = []

    async def first() -> None:
        done.append("first")

    async def second() -> None:
        done.append("second")

    closing = OnShutdown("listeners", first, second)
    await closing.stop()
    assert done == []
    await closing.start()
    await closing.stop()
    await closing.stop()
    assert done == ["first", "second"]


async def test_an_action_that_fails_fails_the_stop() -> None:
    async def fail() -> None:
        raise OSError("no")

    closing = OnShutdown("listeners", fail)
    await closing.start()
    with pytest.raises(OSError, match="no"):
        await closing.stop()
