"""Histograms and gauges that a hot path can afford: a bisection, two additions, no lock.

The client library's own observe takes a lock for each number and walks the buckets one by one; ours
are for one event loop, so a series is a list of counts that its user keeps and adds to. We write it
out as well: a scrape holds up the loop, and the library takes forty times as long for a line whose
labels never change. Invariant: memory is bounded, for beyond ``most`` series what is new is counted
as ``_other``. Made by ``registry``; used by the metrics middleware and interceptor.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from time import time
from typing import Final, TypeAlias

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

ExemplarSource: TypeAlias = Callable[[], str | None]
"""The id of the trace that is being recorded at the moment, in hexadecimal; None when none is."""

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
        words = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        comma, around = ("," if labels else ""), (f"{{{labels}}}" if labels else "")
        self._heads = [f'{name}_bucket{{{labels}{comma}le="{word}"}} ' for word in words]
        self._tails = (f"{name}_count{around} ", f"{name}_sum{around} ")
        self.counts: list[int] = [0] * len(words)
        self.total: float = 0.0
        self.exemplars: dict[int, str] = {}

    def observe(self, value: float) -> None:
        """Count one value. For one event loop: not thread-safe."""
        place = bisect_left(self._bounds, value)
        self.counts[place] += 1
        self.total += value
        if self._exemplar is not None and (trace_id := self._exemplar()) is not None:
            self.exemplars[place] = f' # {{trace_id="{trace_id}"}} {value!r} {time():.3f}'

    def lines(self, *, exemplars: bool) -> Iterator[str]:
        """The samples as text."""
        counts = [*accumulate(self.counts)]
        examples = self.exemplars if exemplars else {}
        for place, head in enumerate(self._heads):
            yield f"{head}{counts[place]}{examples.get(place, '')}\n"
        count, total = self._tails
        yield f"{count}{counts[-1]}\n{total}{self.total!r}\n"


class Histogram(Collector):
    """Series by the values of ``labels``; ``bounds`` are the buckets' upper ones, ascending.

    The registry knows its name, and that it is nobody else's; the samples are `text`'s.
    """

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
        self._about = f"# HELP {name} {_escaped(text)}\n# TYPE {name} histogram\n"
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
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
            pairs = zip(self._labels, values, strict=True)
            labels = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in pairs)
            found = Series(self._name, labels, self._bounds, self._exemplar)
            self._series[values] = found
        return found

    def text(self, *, exemplars: bool) -> str:
        """The exposition; the same in both formats, but for exemplars."""
        lines = (line for one in self._series.values() for line in one.lines(exemplars=exemplars))
        return "".join((self._about, *lines))

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """For the registry: what it is called."""
        yield HistogramMetricFamily(self._name, "")

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For the registry: nothing, since it would write it out at its own pace."""
        yield from ()


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quoted else text


class Gauge(Collector):
    """A number that goes up and down: add to ``value``."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.value = 0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What the client library asks for at a scrape."""
        yield GaugeMetricFamily(self._name, self._text, value=self.value)
