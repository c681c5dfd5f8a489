"""The metrics of one process: a registry and its exposition.

Nothing registers itself and nothing is global, so two services in one process, or two tests, do not
interfere. The scraper chooses the format: OpenMetrics, with exemplars that lead to traces, or the
plain text that everything can parse. Statistics that need a query are refreshed before a scrape
(`StatsCollector.refresh`), since the library's collectors are synchronous.
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
    """A process's metrics. ``version`` is the service's, for ``paceline_build_info``.

    ``exemplar`` returns the id of the trace that is being recorded, for histograms.
    ``stats_collector`` reads the statistics of pools, caches and the like.

        metrics = Metrics(version="1.2.3")
        metrics.stats_collector.add(StatsEntry("pools", pool.name, lambda: pool.stats))
        took = metrics.histogram("job_seconds", "How long jobs took.", ("job",)).series("import")
        took.observe(0.3)
        text, content_type = await metrics.scrape()
    """

    def __init__(self, *, version: str, exemplar: ExemplarSource | None = None) -> None:
        self.stats_collector: StatsCollector = StatsCollector()
        self._exemplar = exemplar
        self._registry = CollectorRegistry(auto_describe=True)
        self._histograms: list[Histogram] = []
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_BuildInfo(version))
        self._registry.register(self.stats_collector)

    def histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float] = SECONDS,
        max_series: int = 2_000,
    ) -> Histogram:
        """A new histogram. ``text``: its HELP. ``max_series``: combinations of label values.

        Errors: ValueError when there is one of that name.
        """
        histogram = Histogram(
            name, text, labels, bounds=bounds, max_series=max_series, exemplar=self._exemplar
        )
        self._registry.register(histogram)
        self._histograms.append(histogram)
        return histogram

    def gauge(self, name: str, text: str) -> Gauge:
        """A new gauge. Errors: ValueError when there is one of that name."""
        gauge = Gauge(name, text)
        self._registry.register(gauge)
        return gauge

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type; ``accept`` is the scraper's header."""
        await self.stats_collector.refresh()
        # Not the header itself: the library would repeat it, or fail on its other parts.
        openmetrics = _OPENMETRICS.partition(";")[0] in accept
        encode, content_type = choose_encoder(_OPENMETRICS if openmetrics else "")
        others = encode(self._registry).removesuffix(_END)
        ours = "".join(each.exposition(exemplars=openmetrics) for each in self._histograms)
        return others + ours.encode() + (_END if openmetrics else b""), content_type


class _BuildInfo(Collector):
    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "paceline_build_info",
            "The versions that run; always 1.",
            labels=("version", "python"),
        )
        family.add_metric((self._version, sys.version.split(maxsplit=1)[0]), 1)
        yield family
