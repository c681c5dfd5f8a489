"""The metrics of one process: a registry that ``main`` builds, and its exposition.

Nothing registers itself and nothing is global, so two services in one process, or two tests, do not
meet. Which format is written is the scraper's choice: OpenMetrics, with exemplars that lead to
traces, or the plain text that everything reads. Figures that need a query are asked for before a
scrape (``watch``), never by the collector. Handed to the middleware that measures and to ``admin``,
which serves it.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from paceline.metrics.histogram import SECONDS, ExemplarSource, Gauge, Histogram
from paceline.metrics.stats_collector import StatsCollector

_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
_END: Final = b"# EOF\n"


class Metrics:
    """What a process counts. ``version`` is the service's, for ``paceline_build_info``.

    ``exemplar`` gives the id of the trace that is being recorded, for requests' histograms.
    """

    def __init__(self, *, version: str, exemplar: ExemplarSource | None = None) -> None:
        self.watched = StatsCollector()
        self._exemplar = exemplar
        self._registry = CollectorRegistry(auto_describe=True)
        self._histograms: list[Histogram] = []
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_Build(version))
        self._registry.register(self.watched)

    def histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float] = SECONDS,
        most: int = 2_000,
    ) -> Histogram:
        """A new histogram. ``most``: how many series it may have.

        Errors: ValueError when there is one of that name.
        """
        made = Histogram(name, text, labels, bounds=bounds, most=most, exemplar=self._exemplar)
        self._registry.register(made)
        self._histograms.append(made)
        return made

    def gauge(self, name: str, text: str) -> Gauge:
        """A new gauge. Errors: ValueError when there is one of that name."""
        made = Gauge(name, text)
        self._registry.register(made)
        return made

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """All of it, and its content type; ``accept`` is the scraper's header."""
        await self.watched.refresh()
        # Not the header itself: the library would repeat, or trip over, what else it says.
        is_open = _OPENMETRICS.partition(";")[0] in accept
        encode, content_type = choose_encoder(_OPENMETRICS if is_open else "")
        others = encode(self._registry).removesuffix(_END)
        ours = "".join(each.text(exemplars=is_open) for each in self._histograms)
        return others + ours.encode() + (_END if is_open else b""), content_type


class _Build(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "paceline_build_info",
            "What runs: always 1.",
            labels=("version", "python"),
        )
        family.add_metric((self._version, sys.version.split(maxsplit=1)[0]), 1)
        yield family
