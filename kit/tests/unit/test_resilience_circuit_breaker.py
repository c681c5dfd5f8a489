"""The breaker: when it lets through, when it refuses, who decides."""

import asyncio
import random
from collections.abc import Callable

import pytest

from paceline.resilience.circuit_breaker import Breaker, CircuitOpen
from paceline.testing.clock import ManualClock


class Fault(Exception):
    pass


class Answer(Exception):
    """Something the dependency said, and so no fault of it."""


def fail(breaker: Breaker, exc: type[BaseException] = Fault) -> None:
    with pytest.raises(exc), breaker.attempt():
        raise exc


def succeed(breaker: Breaker) -> None:
    with breaker.attempt():
        pass


def is_closed(breaker: Breaker) -> bool:
    """A call, so that no checker takes it for settled."""
    return breaker.closed


def make(clock: ManualClock, told: Callable[[Exception | None], object] = repr) -> Breaker:
    return Breaker(
        clock,
        name="it",
        failures=3,
        rest=2.0,
        is_failure=lambda exc: not isinstance(exc, Answer),
        on_change=told,
    )


def opened(clock: ManualClock) -> Breaker:
    breaker = make(clock)
    for _ in range(3):
        fail(breaker)
    return breaker


def test_it_opens_after_so_many_failures_in_a_row_and_refuses_at_once() -> None:
    breaker = make(ManualClock())
    for _ in range(2):
        fail(breaker)
    assert is_closed(breaker)
    fail(breaker)
    assert not is_closed(breaker)
    with pytest.raises(CircuitOpen), breaker.attempt():
        raise AssertionError("it was tried")


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = make(ManualClock())
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        succeed(breaker)
    assert is_closed(breaker)


def test_what_is_no_failure_is_a_success() -> None:
    breaker = make(ManualClock())
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        fail(breaker, Answer)
    assert is_closed(breaker)


def test_after_the_rest_one_probe_decides_and_nobody_goes_beside_it() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    with breaker.attempt():
        fail(breaker, CircuitOpen)
    assert is_closed(breaker)
    succeed(breaker)


def test_a_probe_that_fails_begins_another_rest() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    fail(breaker)
    clock.advance(1.9)
    fail(breaker, CircuitOpen)
    clock.advance(0.1)
    succeed(breaker)
    assert is_closed(breaker)


def test_a_cancelled_probe_decides_nothing_and_gives_its_turn_back() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    fail(breaker, asyncio.CancelledError)
    assert not is_closed(breaker)
    succeed(breaker)
    assert is_closed(breaker)


def test_an_attempt_from_before_it_opened_is_no_news() -> None:
    clock = ManualClock()
    breaker = make(clock)
    with breaker.attempt():
        for _ in range(3):
            fail(breaker)
    assert not is_closed(breaker)


def test_who_watches_is_told_of_each_change_once() -> None:
    clock, told = ManualClock(), list[str]()
    breaker = make(clock, lambda exc: told.append(type(exc).__name__))
    for _ in range(3):
        fail(breaker)
    for _ in range(2):
        clock.advance(2)
        fail(breaker)
    clock.advance(2)
    succeed(breaker)
    succeed(breaker)
    assert told == ["Fault", "NoneType"]


@pytest.mark.parametrize(("failures", "rest"), [(0, 1.0), (1, 0.0)])
def test_settings_out_of_range_are_refused(failures: int, rest: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Breaker(ManualClock(), name="it", failures=failures, rest=rest)


@pytest.mark.parametrize(
    ("succeed_one_in", "wanted"), [(1, 1.0), (2, 1.0), (4, 0.5), (8, 0.25)], ids=str
)
def test_of_what_fails_in_part_it_asks_twice_what_that_can_do(
    succeed_one_in: int, wanted: float
) -> None:
    """It can do a share of what is asked; what is beyond fails, however many are let through."""
    clock = ManualClock()
    generous = Breaker(clock, name="it", failures=1000, draw=random.Random(1).random)  # noqa: S311 - no secret
    passed = accepted = 0
    for number in range(40):  # half a second each, 50 attempts
        done = 0
        for _ in range(50):
            clock.advance(0.01)
            try:
                with generous.attempt():
                    passed += number >= 20
                    if done * succeed_one_in >= 50:
                        raise Fault
                    done += 1
                    accepted += number >= 20
            except (Fault, CircuitOpen):
                pass
    assert passed / 1000 == pytest.approx(wanted, rel=0.25)
    assert accepted / 1000 == pytest.approx(1 / succeed_one_in, rel=0.2)
    assert is_closed(generous)
    assert generous.stats.refused > 0 or succeed_one_in <= 2


def test_after_the_window_the_past_is_forgotten() -> None:
    clock = ManualClock()
    breaker = Breaker(clock, name="it", failures=100, window=10, draw=lambda: 0.99)
    for _ in range(90):
        fail(breaker)
    assert breaker.share == pytest.approx(90 / 91)
    clock.advance(10)
    succeed(breaker)
    assert breaker.share == 0


def test_when_it_is_back_it_is_asked_for_all_at_once() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    assert breaker.stats.open
    assert breaker.share == 1
    clock.advance(2)
    succeed(breaker)
    assert breaker.share == 0
    stats = breaker.stats
    assert (stats.open, stats.succeeded, stats.failed, stats.refused) == (False, 1, 3, 0)
