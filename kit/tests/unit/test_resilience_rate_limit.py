"""The token bucket, against a naive one that counts tokens."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.resilience.rate_limit import RateLimiter
from paceline.testing.clock import ManualClock

rates = st.floats(min_value=0.1, max_value=1_000)
bursts = st.floats(min_value=1, max_value=1_000)
waits = st.floats(min_value=0, max_value=20)


@dataclass
class NaiveBucket:
    """The textbook: tokens, refilled by the time that passed."""

    rate: float
    burst: float
    tokens: float
    at: float

    def refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now


def allowed(limiter: RateLimiter, key: str, times: int) -> int:
    return sum(limiter.take(key).allowed for _ in range(times))


def test_a_burst_passes_at_once_and_then_the_rate_holds() -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=10)
    assert allowed(limiter, "a", 100) == 20
    clock.advance(1)
    assert allowed(limiter, "a", 100) == 10
    clock.advance(3600)
    assert allowed(limiter, "a", 100) == 20


def test_a_slow_rate_still_lets_one_request_through() -> None:
    limiter = RateLimiter(ManualClock(), rate=0.1)
    assert allowed(limiter, "a", 5) == 1


def test_keys_do_not_share_a_bucket() -> None:
    limiter = RateLimiter(ManualClock(), rate=1, burst=1)
    assert limiter.take("a").allowed
    assert not limiter.take("a").allowed
    assert limiter.take("b").allowed


def test_a_decision_tells_what_is_left_and_how_long_to_wait() -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=2, burst=4)
    first = limiter.take("a", 3)
    assert (first.allowed, first.limit, first.remaining) == (True, 4, 1)
    assert first.reset_after == pytest.approx(1.5)
    assert first.retry_after == 0
    refused = limiter.take("a", 3)
    assert (refused.allowed, refused.limit, refused.remaining) == (False, 4, 1)
    assert refused.reset_after == pytest.approx(1.5)
    assert refused.retry_after == pytest.approx(1.0, abs=1e-5)


def test_a_refused_take_costs_nothing() -> None:
    limiter = RateLimiter(ManualClock(), rate=1, burst=5)
    assert limiter.take("a", 4).allowed
    assert not limiter.take("a", 2).allowed
    assert limiter.take("a", 1).allowed


@given(rate=rates, burst=bursts, steps=st.lists(st.tuples(waits, st.floats(0.1, 1)), max_size=60))
def test_it_agrees_with_a_bucket_that_counts_tokens(
    rate: float, burst: float, steps: list[tuple[float, float]]
) -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=rate, burst=burst)
    naive = NaiveBucket(rate, burst, tokens=burst, at=clock.monotonic())
    for wait, share in steps:
        clock.advance(wait)
        naive.refill(clock.monotonic())
        cost = burst * share
        decision = limiter.take("a", cost)
        if abs(naive.tokens - cost) > 1e-6 * burst:
            assert decision.allowed is (naive.tokens > cost)
        if decision.allowed:
            naive.tokens -= cost
        assert decision.remaining == pytest.approx(math.floor(naive.tokens), abs=1)
        assert 0 <= decision.remaining <= burst
        assert decision.reset_after == pytest.approx((burst - naive.tokens) / rate, abs=1e-5)


@given(rate=rates, burst=bursts, steps=st.lists(waits, min_size=1, max_size=30))
def test_no_window_sees_more_than_burst_plus_rate_times_its_length(
    rate: float, burst: float, steps: list[float]
) -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=rate, burst=burst)
    taken: list[tuple[float, float]] = []
    for wait in steps:
        clock.advance(wait)
        cost = 1.0
        while limiter.take("a", cost).allowed:
            taken.append((clock.monotonic(), cost))
            cost = min(burst, cost * 2)
    for start in range(len(taken)):
        total = 0.0
        for when, cost in taken[start:]:
            total += cost
            assert total <= burst + rate * (when - taken[start][0] + 2e-6)


@given(rate=rates, burst=bursts, cost=st.floats(0.01, 1), start=st.floats(0, 1e8))
def test_waiting_exactly_retry_after_is_enough(
    rate: float, burst: float, cost: float, start: float
) -> None:
    clock = ManualClock()
    clock.advance(start)
    limiter = RateLimiter(clock, rate=rate, burst=burst)
    while (decision := limiter.take("a", burst * cost)).allowed:
        pass
    clock.advance(decision.retry_after)
    assert limiter.take("a", burst * cost).allowed


def test_waiting_clearly_less_than_retry_after_is_not_enough() -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=1, burst=1)
    limiter.take("a")
    clock.advance(limiter.take("a").retry_after - 0.001)
    assert not limiter.take("a").allowed


@given(moves=st.lists(st.floats(-1_000, 0), max_size=20))
def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away(moves: list[float]) -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=5, burst=10)
    passed = 0
    for move in moves:
        clock.advance(move)
        passed += allowed(limiter, "a", 3)
    assert passed == min(10, 3 * len(moves))


def test_a_clock_that_went_back_makes_nobody_wait_longer() -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=1, burst=2)
    allowed(limiter, "a", 3)
    clock.advance(-500)
    assert limiter.take("a").retry_after == pytest.approx(1, abs=1e-5)
    assert limiter.take("b").allowed


def test_idle_buckets_are_forgotten_as_other_keys_arrive() -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=1, burst=2)
    for number in range(1_000):
        limiter.take(f"early-{number}")
    assert len(limiter) == 1_000
    clock.advance(10)
    for number in range(1_000):
        limiter.take(f"late-{number}")
    assert len(limiter) == 1_000
    assert all(limiter.take(f"late-{number}").remaining == 0 for number in range(1_000))


def test_beyond_max_keys_the_longest_idle_goes_and_the_limited_stay_limited() -> None:
    clock = ManualClock()
    limiter = RateLimiter(clock, rate=1, burst=1, max_keys=10)
    for number in range(10_000):
        limiter.take(f"flood-{number}")
        assert limiter.take("greedy").allowed is (number == 0)
        assert len(limiter) <= 10


def test_max_keys_of_one_still_works() -> None:
    limiter = RateLimiter(ManualClock(), rate=1, burst=1, max_keys=1)
    assert limiter.take("a").allowed
    assert not limiter.take("a").allowed
    assert limiter.take("b").allowed
    assert len(limiter) == 1


@dataclass(frozen=True)
class BadSetting:
    name: str
    rate: float = 1
    burst: float | None = None
    max_keys: int = 10


@pytest.mark.parametrize(
    "case",
    [
        BadSetting("no rate", rate=0),
        BadSetting("negative rate", rate=-1),
        BadSetting("rate not a number", rate=math.nan),
        BadSetting("endless rate", rate=math.inf),
        BadSetting("burst below one request", burst=0.5),
        BadSetting("burst not a number", burst=math.nan),
        BadSetting("no keys", max_keys=0),
    ],
    ids=lambda case: case.name,
)
def test_settings_out_of_range_are_refused(case: BadSetting) -> None:
    with pytest.raises(ValueError, match="must be"):
        RateLimiter(ManualClock(), rate=case.rate, burst=case.burst, max_keys=case.max_keys)


@pytest.mark.parametrize("cost", [0, -1, math.nan, 2.5, math.inf])
def test_a_cost_that_no_wait_could_pay_is_refused(cost: float) -> None:
    limiter = RateLimiter(ManualClock(), rate=1, burst=2)
    with pytest.raises(ValueError, match="cost"):
        limiter.take("a", cost)
