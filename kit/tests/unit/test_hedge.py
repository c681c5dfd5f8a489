"""Hedging: when a second one is sent, whose answer counts, and that nothing goes on."""

import asyncio
from dataclasses import dataclass, field

import pytest

from paceline.errors import Code, Error
from paceline.hedge import Hedge, Stats


@dataclass
class Asked:
    """Each call waits for its answer, which a test gives; an exception is raised."""

    answers: list[asyncio.Future[str]] = field(default_factory=list[asyncio.Future[str]])
    second: asyncio.Event = field(default_factory=asyncio.Event)
    ended: int = 0

    async def __call__(self) -> str:
        self.answers.append(asyncio.get_running_loop().create_future())
        if len(self.answers) == 2:
            self.second.set()
        try:
            return await self.answers[-1]
        finally:
            self.ended += 1


async def hedged(hedge: Hedge) -> tuple[Asked, asyncio.Task[str]]:
    """A call that is asked for twice by now."""
    asked = Asked()
    task = asyncio.create_task(hedge.run(asked))
    await asked.second.wait()
    return asked, task


async def test_who_is_in_time_is_asked_once() -> None:
    hedge = Hedge(delay=30)

    async def quick() -> str:
        return "quick"

    assert await hedge.run(quick) == "quick"
    assert hedge.stats == Stats(calls=1, hedged=0, won=0, denied=0)


@pytest.mark.parametrize("winner", [0, 1], ids=["the first", "the second"])
async def test_the_first_answer_counts_and_the_other_attempt_is_ended(winner: int) -> None:
    hedge = Hedge(delay=0.001)
    asked, task = await hedged(hedge)
    asked.answers[winner].set_result("mine")
    assert await task == "mine"
    assert asked.ended == 2
    assert hedge.stats == Stats(calls=1, hedged=1, won=winner, denied=0)


async def test_a_failure_does_not_count_while_the_other_may_succeed() -> None:
    hedge = Hedge(delay=0.001)
    asked, task = await hedged(hedge)
    asked.answers[0].set_exception(Error(Code.UNAVAILABLE, "lost"))
    await asyncio.sleep(0)
    asked.answers[1].set_result("mine")
    assert await task == "mine"


async def test_when_both_fail_the_last_error_is_told() -> None:
    asked, task = await hedged(Hedge(delay=0.001))
    asked.answers[1].set_exception(Error(Code.UNAVAILABLE, "the second"))
    await asyncio.sleep(0.001)
    asked.answers[0].set_exception(Error(Code.UNAVAILABLE, "the first"))
    with pytest.raises(Error, match="the first"):
        await task


async def test_a_failure_in_time_is_told_at_once() -> None:
    async def failing() -> str:
        raise Error(Code.NOT_FOUND, "no")

    hedge = Hedge(delay=30)
    with pytest.raises(Error, match="no"):
        await hedge.run(failing)
    assert hedge.stats.hedged == 0


async def test_a_cancellation_ends_both_attempts() -> None:
    asked, task = await hedged(Hedge(delay=0.001))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked.ended == 2


async def test_when_everything_is_slow_only_a_few_are_asked_twice() -> None:
    hedge = Hedge(delay=0.0001, ratio=0.05, burst=2)

    async def slow() -> None:
        await asyncio.sleep(0.002)

    for _ in range(40):
        await hedge.run(slow)
    assert 2 <= hedge.stats.hedged <= 4
    assert hedge.stats.denied >= 30


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"delay": 0.0}, {"delay": 1.0, "ratio": 2.0}, {"delay": 1.0, "burst": 0.0}):
        with pytest.raises(ValueError, match="delay"):
            Hedge(**wrong)
