"""Single flight: one call for all who wait, each with its own answer, error and leave."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.concurrency.singleflight import SingleFlight
from paceline.errors import Code, Error


class Admission:
    """A call that counts itself and waits until it is let through."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.open = asyncio.Event()
        self.entered = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.calls += 1
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return self.calls


async def callers(
    flight: SingleFlight[str, int], door: Admission, count: int
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flight.do("key", door)) for _ in range(count)]
    await door.entered.wait()
    await asyncio.sleep(0)
    return tasks


async def test_callers_that_wait_together_share_one_call() -> None:
    flight, door = SingleFlight[str, int](), Admission()
    tasks = await callers(flight, door, 5)
    door.open.set()
    assert await asyncio.gather(*tasks) == [1] * 5


async def test_a_later_call_is_a_new_one() -> None:
    flight, door = SingleFlight[str, int](), Admission()
    door.open.set()
    assert [await flight.do("key", door), await flight.do("key", door)] == [1, 2]


async def test_other_keys_do_not_wait_for_each_other() -> None:
    flight, door, other = SingleFlight[str, int](), Admission(), Admission()
    other.open.set()
    waiting = await callers(flight, door, 1)
    assert await flight.do("other", other) == 1
    door.open.set()
    assert await waiting[0] == 1


async def test_each_caller_gets_a_copy_of_the_error() -> None:
    flight, door = SingleFlight[str, int](), Admission()
    door.error = Error(Code.NOT_FOUND, "nothing there")
    tasks = await callers(flight, door, 2)
    door.open.set()
    one, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(one, Error)
    assert str(one) == str(other)
    assert one is not other


@given(leaving=st.sets(st.integers(0, 4)))
def test_the_call_ends_with_its_last_caller_and_not_before(leaving: set[int]) -> None:
    async def scenario() -> None:
        flight, door = SingleFlight[str, int](), Admission()
        tasks = await callers(flight, door, 5)
        for number in leaving:
            tasks[number].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        door.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError) == (number in leaving)
        assert door.cancelled == (len(leaving) == len(tasks))

    asyncio.run(scenario())


async def test_a_caller_that_comes_after_the_last_one_left_starts_anew() -> None:
    flight, door = SingleFlight[str, int](), Admission()
    (task,) = await callers(flight, door, 1)
    task.cancel()
    await asyncio.wait([task])
    door.open.set()
    assert await flight.do("key", door) == 2


async def test_after_forget_the_next_caller_starts_anew_and_those_who_wait_are_answered() -> None:
    flight, door, other = SingleFlight[str, int](), Admission(), Admission()
    (task,) = await callers(flight, door, 1)
    flight.forget("key")
    other.open.set()
    assert await flight.do("key", other) == 1
    assert not task.done()
    door.open.set()
    assert await task == 1


async def test_a_call_that_is_cancelled_from_elsewhere_is_an_error_and_no_cancellation() -> None:
    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(Error, match="the shared call was cancelled"):
        await SingleFlight[str, int]().do("key", cancelled)
