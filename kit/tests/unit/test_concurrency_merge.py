"""Merging streams: everything once, each stream in its order, errors, closing."""

import asyncio
import itertools
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.concurrency.merge import merge


class Source:
    """A stream of numbers, each after as many turns of the loop; knows whether it was closed."""

    def __init__(self, name: int, turns: list[int]) -> None:
        self.name = name
        self.turns = turns
        self.given = 0
        self.closed = False

    async def stream(self) -> AsyncGenerator[tuple[int, int]]:
        try:
            for number, turns in enumerate(self.turns):
                for _ in range(turns):
                    await asyncio.sleep(0)
                self.given += 1
                yield self.name, number
        finally:
            self.closed = True


@given(turns=st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=4))
def test_every_item_comes_once_and_each_stream_keeps_its_order(turns: list[list[int]]) -> None:
    sources = [Source(name, each) for name, each in enumerate(turns)]

    async def scenario() -> list[tuple[int, int]]:
        async with merge(*(source.stream() for source in sources)) as items:
            return [item async for item in items]

    found = asyncio.run(scenario())
    for source in sources:
        own = [number for name, number in found if name == source.name]
        assert own == list(range(len(source.turns)))
        assert source.closed or not source.turns


async def test_a_slow_reader_slows_its_sources() -> None:
    sources = [Source(name, [0] * 100) for name in range(2)]
    async with merge(*(source.stream() for source in sources)) as items:
        async for _ in items:
            for _ in range(20):
                await asyncio.sleep(0)
            assert sum(source.given for source in sources) <= 2
            break
    assert all(source.closed for source in sources)


async def test_the_error_of_one_ends_all() -> None:
    async def broken() -> AsyncGenerator[tuple[int, int]]:
        yield 9, 9
        raise ValueError("broken")

    other = Source(0, [1] * 1000)
    with pytest.raises(ValueError, match="broken"):
        async with merge(broken(), other.stream()) as items:
            async for _ in items:
                pass
    assert other.closed


async def test_leaving_early_closes_endless_streams() -> None:
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[int]:
        try:
            for number in itertools.count():
                await asyncio.sleep(0)
                yield number
        finally:
            closed.append(True)

    async with merge(endless(), endless()) as items:
        async for item in items:
            if item > 3:
                break
    assert closed == [True, True]
