"""Latencies in bounded memory: a log-linear histogram, as HdrHistogram's.

Whole microseconds up to 256, then 128 buckets for each doubling: any value is known within 0.8 %,
an hour of load takes as much memory as a second of it, and recording is a few integer operations.
Rejected: a list of all values, which grows with the load, and a reservoir, whose p99.9 is a guess.
Filled by ``load``, drawn by ``load_report``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Final

_BITS: Final = 7
_PER_DOUBLING: Final = 1 << _BITS
_LONGEST: Final = (1 << 32) - 1
"""Microseconds: 71 minutes. Longer ones are counted as this."""
_BUCKETS: Final = (32 - _BITS + 1) << _BITS


@dataclass(slots=True)
class Histogram:
    """How many times took how long. Times go in and out as seconds."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    shortest: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * _BUCKETS, repr=False)

    def record(self, seconds: float) -> None:
        """Take one time in; less than nothing counts as nothing."""
        seconds = max(seconds, 0.0)
        micros = min(int(seconds * 1e6), _LONGEST)
        shift = max(micros.bit_length() - _BITS - 1, 0)
        self.buckets[(shift << _BITS) + (micros >> shift)] += 1
        self.longest = max(self.longest, seconds)
        if seconds < self.shortest or self.count == 0:
            self.shortest = seconds
        self.count += 1
        self.total += seconds

    @property
    def mean(self) -> float:
        """The mean; 0 for none."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The time that ``share`` (0 to 1) of them do not exceed, rounded up; 0 for none."""
        wanted = ceil(self.count * share)
        seen = 0
        for until, count in self.spread():
            seen += count
            if seen >= wanted:
                return min(until, self.longest)
        return self.longest

    def spread(self) -> Iterator[tuple[float, int]]:
        """Each bucket that holds something, in order: up to which time, and how many."""
        for index, count in enumerate(self.buckets):
            if count:
                yield _upper(index), count


def _upper(index: int) -> float:
    """Where a bucket ends, in seconds."""
    shift = max((index >> _BITS) - 1, 0)
    return ((index - (shift << _BITS) + 1) << shift) / 1e6
