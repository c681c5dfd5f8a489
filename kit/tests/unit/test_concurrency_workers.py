"""The worker pool: results as they finish, bounds, and no work left after the block."""

import asyncio
import itertools
import math
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.concurrency.workers import WorkResult, process_pool, worker_pool
from paceline.errors import Error


class Worker:
    """Waits some turns of the loop; a negative item fails."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def __call__(self, item: int) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(abs(item)):
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        if item < 0:
            raise ValueError(item)
        return item * 2


async def collect(items: list[int], workers: int, worker: Worker) -> list[WorkResult[int, int]]:
    async with worker_pool(worker, items, workers=workers) as results:
        return [result async for result in results]


@given(items=st.lists(st.integers(-4, 6)), workers=st.integers(1, 5))
def test_each_item_has_one_result_its_value_or_its_error(items: list[int], workers: int) -> None:
    worker = Worker()
    results = asyncio.run(collect(items, workers, worker))
    assert sorted(result.index for result in results) == list(range(len(items)))
    for result in results:
        assert result.item == items[result.index]
        if result.item < 0:
            assert isinstance(result.error, ValueError)
        else:
            assert result.unwrap() == result.item * 2
    assert worker.most <= workers


async def test_results_come_as_they_finish() -> None:
    results = await collect([50, 0], 2, Worker())
    assert [result.item for result in results] == [0, 50]


def test_unwrap_raises_the_error() -> None:
    with pytest.raises(KeyError):
        WorkResult(0, "item", None, KeyError()).unwrap()


async def test_items_are_taken_only_when_a_worker_is_free() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield 0

    async with worker_pool(Worker(), endless(), workers=3) as results:
        async for result in results:
            assert len(taken) <= result.index + 2 * 3
            if len(taken) > 50:
                break


async def test_leaving_the_block_cancels_the_work() -> None:
    worker = Worker()
    async with worker_pool(worker, [0, 10_000, 10_000], workers=3) as results:
        async for _ in results:
            assert worker.now == 2
            break
    assert worker.now == 0


async def test_cancelling_the_reader_cancels_the_work() -> None:
    worker = Worker()
    task = asyncio.create_task(collect([10_000], 1, worker))
    while worker.now == 0:  # noqa: ASYNC110 - a turn of the loop, not a time
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.now == 0


async def test_processes_return_values_and_errors() -> None:
    # Functions of the standard library: a new process can import them by name.
    found: dict[int, int | str] = {}
    async with process_pool(math.isqrt, [9, -1, 16], processes=1) as results:
        async for result in results:
            found[result.item] = "error" if result.error else result.unwrap()
    assert found == {9: 3, -1: "error", 16: 4}


async def test_a_process_that_dies_is_an_error_and_nothing_hangs() -> None:
    async with process_pool(os._exit, [1, 2], processes=1) as results:
        errors = [result.error async for result in results]
    assert len(errors) == 2
    assert all(isinstance(error, Error) for error in errors)
