"""Latencies are known within 0.8 %, whatever their size, in memory that does not grow."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.console.histogram import Histogram

SHARES = (0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0)


def filled(times: list[float]) -> Histogram:
    histogram = Histogram()
    for each in times:
        histogram.record(each)
    return histogram


@given(st.lists(st.floats(min_value=0, max_value=4000), min_size=1, max_size=200))
def test_a_quantile_is_the_exact_one_or_just_above_it(times: list[float]) -> None:
    histogram = filled(times)
    ordered = sorted(times)
    for share in SHARES:
        below = sum(each <= histogram.quantile(share) * (1 + 1e-9) for each in ordered)
        exact = ordered[max(round(share * len(ordered) + 0.49999999) - 1, 0)]
        assert below >= share * len(ordered) - 1e-6
        assert histogram.quantile(share) <= exact * (1 + 1 / 127) + 2e-6


def test_the_ends_and_the_mean_are_exact() -> None:
    histogram = filled([0.25, 0.5, 1.5])
    assert (histogram.shortest, histogram.longest, histogram.mean) == (0.25, 1.5, 0.75)
    assert histogram.quantile(1.0) == 1.5


def test_nothing_recorded_is_nothing() -> None:
    assert Histogram().quantile(0.99) == 0.0
    assert Histogram().mean == 0.0


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 1e9], ids=str)
def test_any_time_is_taken(seconds: float) -> None:
    histogram = filled([seconds])
    assert histogram.count == 1
    assert sum(count for _, count in histogram.spread()) == 1


def test_a_long_load_takes_no_more_memory_than_a_short_one() -> None:
    histogram = filled([0.001])
    before = sys.getsizeof(histogram.buckets)
    for number in range(10_000):
        histogram.record(number**2 / 1e6)
    assert sys.getsizeof(histogram.buckets) == before
