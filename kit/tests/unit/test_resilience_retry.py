"""Retries: which errors are retried, how often, after which pause, and when not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error, NotFound
from paceline.resilience.retry import Retry, RetryBudget, RetryStats, is_transient


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
    """A jitter of nothing, which keeps the bounds it was called with."""

    bounds: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def __call__(self, least: float, most: float) -> float:
        self.bounds.append((least, most))
        return 0.0


def make(budget: RetryBudget | None = None, *, max_attempts: int = 3) -> tuple[Retry, Pauses]:
    pauses = Pauses()
    retry = Retry(
        budget or RetryBudget(),
        max_attempts=max_attempts,
        initial_backoff=0.1,
        max_backoff=0.5,
        jitter=pauses,
    )
    return retry, pauses


async def test_a_transient_error_is_retried() -> None:
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
async def test_other_errors_are_not_retried(case: Kept) -> None:
    retry, _ = make()
    call = Call([case.failure])
    with pytest.raises(type(case.failure)):
        await retry.run(call)
    assert call.made == 1
    assert not is_transient(case.failure)


async def test_pauses_are_random_up_to_a_bound_that_doubles() -> None:
    retry, pauses = make(max_attempts=6)
    await retry.run(Call([lost()] * 5))
    assert pauses.bounds == [(0.0, 0.1), (0.0, 0.2), (0.0, 0.4), (0.0, 0.5), (0.0, 0.5)]


async def test_an_outage_costs_a_tenth_more_calls_and_not_three_times_as_many() -> None:
    retry, _ = make(RetryBudget(ratio=0.1, burst=10))
    call = Call([lost()] * 10_000)
    for _ in range(1000):
        with pytest.raises(Error):
            await retry.run(call)
    assert 1100 <= call.made <= 1111
    assert retry.stats.denied > 800


async def test_calls_earn_retries_up_to_the_burst() -> None:
    budget = RetryBudget(ratio=0.1, burst=3)
    for _ in range(1000):
        budget.deposit()
    assert [budget.try_withdraw() for _ in range(4)] == [True, True, True, False]


async def test_nothing_is_retried_beyond_the_deadline() -> None:
    retry = Retry(RetryBudget(), jitter=lambda _, most: 1000 * most)
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
        await retry.run(call, max_attempts=1)
    assert call.made == 1


@pytest.mark.parametrize("wrong", [{"ratio": 2.0}, {"burst": 0.0}], ids=str)
def test_budgets_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="ratio"):
        RetryBudget(**wrong)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"max_attempts": 0}, {"initial_backoff": 0.0}, {"max_backoff": 0.0}):
        with pytest.raises(ValueError, match="attempts"):
            Retry(RetryBudget(), **wrong)  # pyright: ignore[reportArgumentType] # one dictionary for all
