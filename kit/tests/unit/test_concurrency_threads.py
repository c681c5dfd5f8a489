"""A blocking call in a daemon thread: its result, its error, and a caller that is cancelled."""

import asyncio
import threading

import pytest

from paceline.concurrency.threads import run_in_daemon_thread


async def test_the_result_or_the_error_is_the_calls() -> None:
    assert await run_in_daemon_thread(lambda: threading.current_thread().daemon, name="t") is True
    with pytest.raises(ZeroDivisionError):
        await run_in_daemon_thread(lambda: 1 // 0, name="t")


async def test_a_cancelled_caller_does_not_wait_for_the_call() -> None:
    release = threading.Event()
    task = asyncio.create_task(run_in_daemon_thread(lambda: release.wait(30), name="stuck"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert any(each.name == "stuck" for each in threading.enumerate())
    release.set()
