"""The circuit breaker: when attempts pass, when they are rejected, what the probe decides."""

import asyncio
import random
from collections.abc import Callable

import pytest

from paceline.resilience.circuit_breaker import CircuitBreaker, CircuitOpen
from paceline.testing.clock import ManualClock


class Fault(Exception):
    pass


class Answer(Exception):
    """An error that the dependency answered with, and so no failure of it."""


def fail(breaker: CircuitBreaker, exc: type[BaseException] = Fault) -> None:
    with pytest.raises(exc), breaker.attempt():
        raise exc


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.attempt():
        pass


def is_closed(breaker: CircuitBreaker) -> bool:
    """A call, so that no checker takes it for settled."""
    return breaker.closed


def make(
    clock: ManualClock, changes: Callable[[Exception | None], object] = repr
) -> CircuitBreaker:
    return CircuitBreaker(
        clock,
        name="it",
        failure_threshold=3,
        reset_timeout=2.0,
        is_failure=lambda exc: not isinstance(exc, Answer),
        on_change=changes,
    )


def opened(clock: ManualClock) -> CircuitBreaker:
    breaker = make(clock)
    for _ in range(3):
        fail(breaker)
    return breaker


def test_it_opens_after_consecutive_failures_and_rejects_at_once() -> None:
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


def test_an_exception_that_is_no_failure_counts_as_a_success() -> None:
    breaker = make(ManualClock())
    for _ in range(5):
        fail(breaker)
        fail(breaker)
        fail(breaker, Answer)
    assert is_closed(breaker)


def test_after_the_reset_timeout_one_probe_decides_and_nothing_passes_beside_it() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    with breaker.attempt():
        fail(breaker, CircuitOpen)
    assert is_closed(breaker)
    succeed(breaker)


def test_a_probe_that_fails_starts_the_reset_timeout_again() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    fail(breaker)
    clock.advance(1.9)
    fail(breaker, CircuitOpen)
    clock.advance(0.1)
    succeed(breaker)
    assert is_closed(breaker)


def test_a_cancelled_probe_decides_nothing_and_the_next_attempt_is_the_probe() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(2)
    fail(breaker, asyncio.CancelledError)
    assert not is_closed(breaker)
    succeed(breaker)
    assert is_closed(breaker)


def test_an_attempt_from_before_it_opened_changes_nothing() -> None:
    clock = ManualClock()
    breaker = make(clock)
    with breaker.attempt():
        for _ in range(3):
            fail(breaker)
    assert not is_closed(breaker)


def test_each_change_is_reported_once() -> None:
    clock, changes = ManualClock(), list[str]()
    breaker = make(clock, lambda exc: changes.append(type(exc).__name__))
    for _ in range(3):
        fail(breaker)
    for _ in range(2):
        clock.advance(2)
        fail(breaker)
    clock.advance(2)
    succeed(breaker)
    succeed(breaker)
    assert changes == ["Fault", "NoneType"]


@pytest.mark.parametrize(("failures", "rest"), [(0, 1.0), (1, 0.0)])
def test_settings_out_of_range_are_refused(failures: int, rest: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        CircuitBreaker(ManualClock(), name="it", failure_threshold=failures, reset_timeout=rest)


@pytest.mark.parametrize(
    ("succeed_one_in", "wanted"), [(1, 1.0), (2, 1.0), (4, 0.5), (8, 0.25)], ids=str
)
def test_a_dependency_that_fails_in_part_receives_twice_what_it_can_serve(
    succeed_one_in: int, wanted: float
) -> None:
    """It serves a share of the attempts; the others fail, however many pass."""
    clock = ManualClock()
    draw = random.Random(1)  # noqa: S311 - no secret
    breaker = CircuitBreaker(clock, name="it", failure_threshold=1000, random_share=draw.random)
    passed = accepted = 0
    for number in range(40):  # half a second each, 50 attempts
        done = 0
        for _ in range(50):
            clock.advance(0.01)
            try:
                with breaker.attempt():
                    passed += number >= 20
                    if done * succeed_one_in >= 50:
                        raise Fault
                    done += 1
                    accepted += number >= 20
            except (Fault, CircuitOpen):
                pass
    assert passed / 1000 == pytest.approx(wanted, rel=0.25)
    assert accepted / 1000 == pytest.approx(1 / succeed_one_in, rel=0.2)
    assert is_closed(breaker)
    assert breaker.stats.rejected > 0 or succeed_one_in <= 2


def test_what_is_older_than_the_window_does_not_count() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(
        clock, name="it", failure_threshold=100, window=10, random_share=lambda: 0.99
    )
    for _ in range(90):
        fail(breaker)
    assert breaker.rejected_share == pytest.approx(90 / 91)
    clock.advance(10)
    succeed(breaker)
    assert breaker.rejected_share == 0


def test_after_a_successful_probe_every_attempt_passes() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    assert breaker.stats.open
    assert breaker.rejected_share == 1
    clock.advance(2)
    succeed(breaker)
    assert breaker.rejected_share == 0
    stats = breaker.stats
    assert (stats.open, stats.succeeded, stats.failed, stats.rejected) == (False, 1, 3, 0)
