"""Histograms and gauges that a hot path can afford: a bisection, two additions, no lock.

The client library's own observe takes a lock for each number and walks the buckets one by one; ours
are for one event loop, so a series is a list of counts that its user keeps and adds to. It is
written out by the library all the same. Invariant: memory is bounded, for beyond ``most`` series
what is new is counted as ``_other``. Made by ``registry``; used by the metrics middleware and
interceptor.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from time import time
from typing import Final, TypeAlias

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

ExemplarSource: TypeAlias = Callable[[], str | None]
"""The id of the trace that is being recorded at the moment, in hexadecimal; None when none is."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds for the time that a request takes."""
OTHER: Final = "_other"


class Series:
    """The counts of one combination of labels."""

    __slots__ = ("_bounds", "_exemplar", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float], exemplar: ExemplarSource | None) -> None:
        self._bounds = bounds
        self._exemplar = exemplar
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float) -> None:
        """Count one value. For one event loop: not thread-safe."""
        place = bisect_left(self._bounds, value)
        self.counts[place] += 1
        self.total += value
        if self._exemplar is not None and (trace_id := self._exemplar()) is not None:
            self.exemplars[place] = Exemplar({"trace_id": trace_id}, value, time())


class Histogram(Collector):
    """Series by the values of ``labels``; ``bounds`` are the buckets' upper ones, ascending."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        *,
        bounds: Sequence[float],
        most: int,
        exemplar: ExemplarSource | None,
    ) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._words = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        self._most = most
        self._exemplar = exemplar
        self._series: dict[tuple[str, ...], Series] = {}

    def series(self, *values: str) -> Series:
        """The series of these labels' values; to be kept by who asks for each request."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {', '.join(self._labels)}")
        if values not in self._series and len(self._series) >= self._most:
            values = (OTHER,) * len(values)
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = Series(self._bounds, self._exemplar)
        return found

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the client library asks for at a scrape."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, [*self._buckets(series)], series.total)
        yield family

    def _buckets(self, series: Series) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
        for place, count in enumerate(accumulate(series.counts)):
            exemplar = series.exemplars.get(place)
            word = self._words[place]
            yield (word, count) if exemplar is None else (word, count, exemplar)


class Gauge(Collector):
    """A number that goes up and down: add to ``value``."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.value = 0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the client library asks for at a scrape."""
        yield GaugeMetricFamily(self._name, self._text, value=self.value)
