"""The watch on the event loop: what counts as holding it up, and that a test fails for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from paceline.testing.blocked_loop import (
    MonitoredLoop,
    pytest_asyncio_loop_factories,
    pytest_runtest_call,
)

LONG = 0.5


async def wait() -> None:
    await asyncio.sleep(LONG)


async def sleep() -> None:
    time.sleep(LONG)  # noqa: ASYNC251 - the very mistake


async def reckon() -> None:
    end = time.thread_time() + LONG
    while time.thread_time() < end:
        pass


@dataclass(frozen=True)
class Case:
    id: str
    test: Callable[[], Awaitable[None]]
    holds: int


@pytest.mark.parametrize(
    "case",
    [Case("waiting", wait, 0), Case("sleeping", sleep, 1), Case("reckoning", reckon, 1)],
    ids=lambda case: case.id,
)
def test_blocking_code_is_recorded(case: Case) -> None:
    holds: list[float] = []
    with asyncio.Runner(loop_factory=lambda: MonitoredLoop(holds)) as runner:
        runner.run(asyncio.wait_for(case.test(), 5))
    assert len(holds) == case.holds
    assert all(LONG * 0.9 < held < 5 for held in holds)


def test_time_while_the_loop_does_not_run_does_not_count() -> None:
    holds: list[float] = []
    with asyncio.Runner(loop_factory=lambda: MonitoredLoop(holds)) as runner:
        runner.run(asyncio.sleep(0))
        time.sleep(LONG)
        runner.run(asyncio.sleep(0))
    assert holds == []


@dataclass
class FakeItem:
    """As much of an item and its config as the hooks use."""

    stash: pytest.Stash = field(default_factory=pytest.Stash)

    @property
    def config(self) -> "FakeItem":
        return self


def test_a_test_that_blocked_its_loop_fails_and_the_next_one_does_not() -> None:
    item = cast("pytest.Item", FakeItem())
    factory = pytest_asyncio_loop_factories(item)["monitored"]

    call = start_call(item)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(sleep())
    with pytest.raises(pytest.fail.Exception, match=r"blocked for 0\.\d+s at once"):
        call.send(None)

    call = start_call(item)
    with pytest.raises(StopIteration):
        call.send(None)


def start_call(item: pytest.Item) -> Generator[None, Any, Any]:
    call: Generator[None, Any, Any] = pytest_runtest_call(item)
    next(call)
    return call
