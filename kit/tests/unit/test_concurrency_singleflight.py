"""Single flight: one call for all callers that wait, each with its own result and cancellation."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.concurrency.singleflight import SingleFlight
from paceline.errors import Code, Error


class HeldCall:
    """A call that counts how often it runs, and waits until the test releases it."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return self.calls


async def callers(
    flight: SingleFlight[str, int], call: HeldCall, count: int
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flight.do("key", call)) for _ in range(count)]
    await call.entered.wait()
    await asyncio.sleep(0)
    return tasks


async def test_callers_that_wait_together_share_one_call() -> None:
    flight, call = SingleFlight[str, int](), HeldCall()
    tasks = await callers(flight, call, 5)
    call.release.set()
    assert await asyncio.gather(*tasks) == [1] * 5


async def test_a_later_call_is_a_new_one() -> None:
    flight, call = SingleFlight[str, int](), HeldCall()
    call.release.set()
    assert [await flight.do("key", call), await flight.do("key", call)] == [1, 2]


async def test_other_keys_do_not_wait_for_each_other() -> None:
    flight, call, other = SingleFlight[str, int](), HeldCall(), HeldCall()
    other.release.set()
    waiting = await callers(flight, call, 1)
    assert await flight.do("other", other) == 1
    call.release.set()
    assert await waiting[0] == 1


async def test_each_caller_gets_a_copy_of_the_error() -> None:
    flight, call = SingleFlight[str, int](), HeldCall()
    call.error = Error(Code.NOT_FOUND, "nothing there")
    tasks = await callers(flight, call, 2)
    call.release.set()
    one, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(one, Error)
    assert str(one) == str(other)
    assert one is not other


@given(leaving=st.sets(st.integers(0, 4)))
def test_the_call_is_cancelled_with_its_last_caller_and_not_before(leaving: set[int]) -> None:
    async def scenario() -> None:
        flight, call = SingleFlight[str, int](), HeldCall()
        tasks = await callers(flight, call, 5)
        for number in leaving:
            tasks[number].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError) == (number in leaving)
        assert call.cancelled == (len(leaving) == len(tasks))

    asyncio.run(scenario())


async def test_after_the_last_caller_was_cancelled_the_next_one_starts_a_new_call() -> None:
    flight, call = SingleFlight[str, int](), HeldCall()
    (task,) = await callers(flight, call, 1)
    task.cancel()
    await asyncio.wait([task])
    call.release.set()
    assert await flight.do("key", call) == 2


async def test_after_forget_the_next_caller_starts_a_new_call_and_earlier_ones_get_their_result() -> (
    None
):
    flight, call, other = SingleFlight[str, int](), HeldCall(), HeldCall()
    (task,) = await callers(flight, call, 1)
    flight.forget("key")
    other.release.set()
    assert await flight.do("key", other) == 1
    assert not task.done()
    call.release.set()
    assert await task == 1


async def test_a_call_that_cancels_itself_is_an_error_and_no_cancellation() -> None:
    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(Error, match="the shared call was cancelled"):
        await SingleFlight[str, int]().do("key", cancelled)
