"""The bulkhead: how many run, wait and are refused, and that no place is lost."""

import asyncio

import pytest

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error, Overloaded
from paceline.resilience.bulkhead import Bulkhead
from paceline.testing.cancel import cancel_at_every_await


async def stay(bulkhead: Bulkhead, until: asyncio.Event) -> None:
    async with bulkhead:
        await until.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_some_run_some_wait_and_one_more_is_refused() -> None:
    bulkhead, done = Bulkhead("pages", limit=2, max_waiting=3), asyncio.Event()
    tasks = [asyncio.create_task(stay(bulkhead, done)) for _ in range(5)]
    await settle()
    assert (bulkhead.stats.active, bulkhead.stats.waiting) == (2, 3)
    with pytest.raises(Overloaded, match="pages: too many") as caught:
        async with bulkhead:
            pass
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    done.set()
    await asyncio.gather(*tasks)
    stats = bulkhead.stats
    assert (stats.limit, stats.active, stats.waiting, stats.refused) == (2, 0, 0, 1)


async def test_those_that_wait_run_in_order() -> None:
    bulkhead, order = Bulkhead("it", limit=1), list[int]()

    async def enter(number: int) -> None:
        async with bulkhead:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(enter(number) for number in range(20)))
    assert order == list(range(20))


async def test_a_timeout_while_waiting_names_the_bulkhead() -> None:
    bulkhead, done = Bulkhead("pages", limit=1), asyncio.Event()
    inside = asyncio.create_task(stay(bulkhead, done))
    await settle()
    with pytest.raises(Error) as caught:
        async with fail_after(0.01, "the request"):
            await stay(bulkhead, done)
    assert caught.value.message == (
        "waiting for a free slot for pages exceeded the 0.01s limit of the request"
    )
    done.set()
    await inside


async def test_a_failure_frees_the_place() -> None:
    bulkhead = Bulkhead("it", limit=1, max_waiting=0)
    for _ in range(3):
        with pytest.raises(KeyError):
            async with bulkhead:
                raise KeyError
    assert bulkhead.stats.refused == 0


async def test_no_cancellation_loses_a_place() -> None:
    bulkhead = Bulkhead("it", limit=1, max_waiting=0)
    waiting = Bulkhead("it", limit=1)

    async def work() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        before = loop.create_task(stay(waiting, done))
        loop.call_later(0.002, done.set)
        await asyncio.sleep(0)
        async with waiting, bulkhead:
            await asyncio.sleep(0)
        await before

    async def nothing_is_left() -> None:
        while waiting.stats.active:  # noqa: ASYNC110 - the one before, until it is done
            await asyncio.sleep(0)
        assert (waiting.stats.waiting, bulkhead.stats.active) == (0, 0)
        async with waiting, bulkhead:
            pass

    assert await cancel_at_every_await(work, nothing_is_left) >= 3


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        Bulkhead("it", limit=0)
