"""The task group: its limit, the first error, order, nothing left running."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.concurrency.task_group import LimitedTaskGroup, fetch_all


class Load:
    """Counts how many run at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.ended = 0

    async def __call__(self, turns: int) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(abs(turns)):
                await asyncio.sleep(0)
            if turns < 0:
                raise ValueError(turns)
        finally:
            self.now -= 1
            self.ended += 1
        return turns


@given(keys=st.lists(st.integers(0, 6)), limit=st.integers(1, 5))
def test_results_are_in_the_order_of_the_keys_and_never_more_run_than_the_limit(
    keys: list[int], limit: int
) -> None:
    load = Load()
    assert asyncio.run(fetch_all(keys, load, limit=limit)) == keys
    assert load.most <= limit
    assert load.now == 0


@given(before=st.lists(st.integers(3, 9), max_size=4), bad=st.integers(-2, -1))
def test_the_first_error_is_raised_itself_and_cancels_the_rest(before: list[int], bad: int) -> None:
    load = Load()
    keys = [*before, bad, *range(5, 9)]
    with pytest.raises(ValueError, match=str(bad)):
        asyncio.run(fetch_all(keys, load, limit=3))
    assert load.now == 0


async def test_after_an_error_nothing_more_is_started() -> None:
    load = Load()
    with pytest.raises(ValueError, match="-1"):
        await fetch_all([-1, *range(100)], load, limit=1)
    assert load.ended == 1


async def test_an_error_of_the_block_cancels_the_tasks_and_is_raised_itself() -> None:
    load = Load()
    with pytest.raises(KeyError):
        async with LimitedTaskGroup(limit=2) as group:
            await group.go(load, 1000)
            await asyncio.sleep(0)
            raise KeyError
    assert load.now == 0


async def test_a_cancellation_from_outside_stays_one() -> None:
    load = Load()
    task = asyncio.create_task(fetch_all([10_000], load))
    while load.now == 0:  # noqa: ASYNC110 - a turn of the loop, not a time
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert load.now == 0


def test_a_limit_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LimitedTaskGroup(limit=0)
