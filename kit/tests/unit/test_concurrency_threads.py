"""A blocking call gives its value or its error, and holds up nobody who leaves."""

import asyncio
import threading

import pytest

from paceline.concurrency.threads import in_daemon_thread


async def test_it_gives_the_value_or_the_error() -> None:
    assert await in_daemon_thread(lambda: threading.current_thread().daemon, name="t") is True
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, name="t")


async def test_whoever_is_cancelled_does_not_wait_for_it() -> None:
    release = threading.Event()
    task = asyncio.create_task(in_daemon_thread(lambda: release.wait(30), name="stuck"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert any(each.name == "stuck" for each in threading.enumerate())
    release.set()
