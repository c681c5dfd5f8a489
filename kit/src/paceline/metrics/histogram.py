"""Histograms and gauges that a hot path can afford: a bisection, two additions, no lock.

The client library's own observe takes a lock for each value and walks the buckets one by one; these
are for one event loop, so a series is a list of counts that its user keeps and adds to. The text is
written here too: a scrape blocks the loop, and the library takes forty times as long for a line
whose labels never change. Invariant: memory is bounded, since beyond ``max_series`` new label
values are counted as ``_other``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from time import time
from typing import Final, TypeAlias

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from paceline.metrics.merging import escaped_help, escaped_label

ExemplarSource: TypeAlias = Callable[[], str | None]
"""Returns the id of the trace that is recorded at the moment, in hexadecimal, or None."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds for the time that a request takes."""
OTHER: Final = "_other"


class Series:
    """The counts of one combination of labels."""

    __slots__ = ("_bounds", "_exemplar", "_heads", "_tails", "counts", "exemplars", "total")

    def __init__(
        self,
        name: str,
        labels: str,
        bounds: Sequence[float],
        exemplar: ExemplarSource | None,
    ) -> None:
        self._bounds = bounds
        self._exemplar = exemplar
        limits = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        comma, braced = ("," if labels else ""), (f"{{{labels}}}" if labels else "")
        self._heads = [f'{name}_bucket{{{labels}{comma}le="{limit}"}} ' for limit in limits]
        self._tails = (f"{name}_count{braced} ", f"{name}_sum{braced} ")
        self.counts: list[int] = [0] * len(limits)
        self.total: float = 0.0
        self.exemplars: dict[int, str] = {}

    def observe(self, value: float) -> None:
        """Count one value. For one event loop: not thread-safe."""
        bucket = bisect_left(self._bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if self._exemplar is not None and (trace_id := self._exemplar()) is not None:
            self.exemplars[bucket] = f' # {{trace_id="{trace_id}"}} {value!r} {time():.3f}'

    def lines(self, *, exemplars: bool) -> Iterator[str]:
        """The samples as text."""
        counts = [*accumulate(self.counts)]
        examples = self.exemplars if exemplars else {}
        for bucket, head in enumerate(self._heads):
            yield f"{head}{counts[bucket]}{examples.get(bucket, '')}\n"
        count, total = self._tails
        yield f"{count}{counts[-1]}\n{total}{self.total!r}\n"


class Histogram(Collector):
    """Series by the values of ``labels``; ``bounds`` are the buckets' upper ones, ascending.

    The library's registry only checks that the name is unique; `exposition` writes the samples.
    """

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        *,
        bounds: Sequence[float],
        max_series: int,
        exemplar: ExemplarSource | None,
    ) -> None:
        self._name = name
        self._header = f"# HELP {name} {escaped_help(text)}\n# TYPE {name} histogram\n"
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._max_series = max_series
        self._exemplar = exemplar
        self._series: dict[tuple[str, ...], Series] = {}

    def series(self, *values: str) -> Series:
        """The series of these label values. Callers on a hot path should keep it.

        Errors: ValueError for another number of labels.
        """
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {', '.join(self._labels)}")
        if values not in self._series and len(self._series) >= self._max_series:
            values = (OTHER,) * len(values)
        found = self._series.get(values)
        if found is None:
            pairs = zip(self._labels, values, strict=True)
            labels = ",".join(f'{name}="{escaped_label(value)}"' for name, value in pairs)
            found = Series(self._name, labels, self._bounds, self._exemplar)
            self._series[values] = found
        return found

    def exposition(self, *, exemplars: bool) -> str:
        """Its lines; the same in both formats, except for exemplars."""
        lines = (line for one in self._series.values() for line in one.lines(exemplars=exemplars))
        return "".join((self._header, *lines))

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """For the registry: its name."""
        yield HistogramMetricFamily(self._name, "")

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry: nothing, since the library would format it too slowly."""
        yield from ()


class Gauge(Collector):
    """A number that goes up and down: its user changes ``value``."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.value = 0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For the registry: its sample."""
        yield GaugeMetricFamily(self._name, self._text, value=self.value)
