"""The cancelling helper counts every wait, strikes at both moments, and sees what is wrong."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from paceline.testing.cancel import CancellationFault, cancel_at_every_await


async def nothing() -> None: ...


async def test_every_wait_is_cancelled_once_in_each_way() -> None:
    ends: Counter[str] = Counter()

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            ends["first passed"] += 1
            await asyncio.sleep(0.001)
            ends["second passed"] += 1
        except asyncio.CancelledError:
            ends["cancelled"] += 1
            raise

    assert await cancel_at_every_await(work, nothing) == 2
    assert ends == {"cancelled": 4, "first passed": 4, "second passed": 2}


async def test_the_result_may_have_arrived_before_the_cancellation() -> None:
    answered: list[bool] = []

    async def work() -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(answer.set_result, "yes")
        try:
            await answer
        except asyncio.CancelledError:
            answered.append(not answer.cancelled())
            raise

    await cancel_at_every_await(work, nothing)
    assert answered == [False, True]


async def test_the_check_follows_every_run() -> None:
    checks = 0

    async def check() -> None:
        nonlocal checks
        checks += 1

    assert await cancel_at_every_await(lambda: asyncio.sleep(0), check) == 1
    assert checks == 4


async def test_work_that_never_waits_is_run_and_never_cancelled() -> None:
    assert await cancel_at_every_await(nothing, nothing) == 0


async def test_a_swallowed_cancellation_is_a_fault() -> None:
    async def work() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.001)

    with pytest.raises(CancellationFault, match=r"wait 0 \(while it waits\).* ended with a result"):
        await cancel_at_every_await(work, nothing)


async def test_a_cancellation_turned_into_an_error_is_a_fault() -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            raise KeyError("x") from None

    with pytest.raises(CancellationFault, match="ended with KeyError"):
        await cancel_at_every_await(work, nothing)


async def test_a_task_left_behind_is_a_fault() -> None:
    forgotten: list[asyncio.Task[bool]] = []

    async def work() -> None:
        forgotten.append(asyncio.create_task(asyncio.Event().wait()))
        await asyncio.sleep(0.001)

    with pytest.raises(CancellationFault, match="left tasks behind"):
        await cancel_at_every_await(work, nothing, settle=0.01)
    for task in forgotten:
        task.cancel()


async def test_an_error_of_the_work_itself_passes() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await cancel_at_every_await(work, nothing)
