"""Retries: what is repeated, how often, how long in between, and when not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error, NotFound
from paceline.resilience.budget import Budget
from paceline.resilience.retry import Retry, RetryStats, is_transient


class StaleVersion(Error):
    """An ABORTED that has a meaning."""

    kind = "stale-version"


def lost() -> Error:
    return Error(Code.UNAVAILABLE, "the connection was lost")


@dataclass
class Call:
    """Fails with each of ``failures`` in turn, then succeeds."""

    failures: Sequence[Exception]
    made: int = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.made <= len(self.failures):
            raise self.failures[self.made - 1]
        return "done"


@dataclass
class Pauses:
    """Draws no pause at all, and keeps what was asked for."""

    asked: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def __call__(self, least: float, most: float) -> float:
        self.asked.append((least, most))
        return 0.0


def make(budget: Budget | None = None, *, attempts: int = 3) -> tuple[Retry, Pauses]:
    pauses = Pauses()
    retry = Retry(
        budget or Budget(), attempts=attempts, first_pause=0.1, longest_pause=0.5, draw=pauses
    )
    return retry, pauses


async def test_what_failed_on_the_way_is_done_again() -> None:
    retry, _ = make()
    call = Call([lost(), lost()])
    assert await retry.run(call) == "done"
    assert call.made == 3
    assert retry.stats == RetryStats(calls=1, retries=2, denied=0)


async def test_after_the_last_attempt_its_error_is_raised() -> None:
    retry, _ = make()
    call = Call([lost(), lost(), Error(Code.ABORTED, "the last")])
    with pytest.raises(Error, match="the last"):
        await retry.run(call)
    assert call.made == 3


@dataclass(frozen=True)
class Kept:
    id: str
    failure: Exception


@pytest.mark.parametrize(
    "case",
    [
        Kept("an answer", NotFound()),
        Kept("no time left", Error(Code.DEADLINE_EXCEEDED, "late")),
        Kept("no room", Error(Code.RESOURCE_EXHAUSTED, "full")),
        Kept("an outcome that is unknown", Error(Code.UNKNOWN, "who knows")),
        Kept("an error with a meaning", StaleVersion(Code.ABORTED, "stale")),
        Kept("a bug", KeyError("x")),
    ],
    ids=lambda case: case.id,
)
async def test_other_errors_are_not_repeated(case: Kept) -> None:
    retry, _ = make()
    call = Call([case.failure])
    with pytest.raises(type(case.failure)):
        await retry.run(call)
    assert call.made == 1
    assert not is_transient(case.failure)


async def test_pauses_are_anything_from_nothing_to_twice_the_last_one() -> None:
    retry, pauses = make(attempts=6)
    await retry.run(Call([lost()] * 5))
    assert pauses.asked == [(0.0, 0.1), (0.0, 0.2), (0.0, 0.4), (0.0, 0.5), (0.0, 0.5)]


async def test_an_outage_is_asked_for_a_tenth_more_and_not_for_three_times_as_much() -> None:
    retry, _ = make(Budget(ratio=0.1, burst=10))
    call = Call([lost()] * 10_000)
    for _ in range(1000):
        with pytest.raises(Error):
            await retry.run(call)
    assert 1100 <= call.made <= 1111
    assert retry.stats.denied > 800


async def test_calls_that_succeed_earn_retries_up_to_a_few() -> None:
    budget = Budget(ratio=0.1, burst=3)
    for _ in range(1000):
        budget.add()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


async def test_nothing_is_repeated_beyond_the_deadline() -> None:
    retry = Retry(Budget(), draw=lambda _, most: 1000 * most)
    call = Call([lost()])
    with pytest.raises(Error, match="lost"):
        async with fail_after(5, "the request"):
            await retry.run(call)
    assert call.made == 1
    assert retry.stats.denied == 1


async def test_a_call_may_have_its_own_number_of_attempts() -> None:
    retry, _ = make()
    call = Call([lost()] * 5)
    with pytest.raises(Error):
        await retry.run(call, attempts=1)
    assert call.made == 1


@pytest.mark.parametrize("wrong", [{"ratio": 2.0}, {"burst": 0.0}], ids=str)
def test_budgets_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="ratio"):
        Budget(**wrong)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"attempts": 0}, {"first_pause": 0.0}, {"longest_pause": 0.0}):
        with pytest.raises(ValueError, match="attempts"):
            Retry(Budget(), **wrong)  # pyright: ignore[reportArgumentType] # one dictionary for all
