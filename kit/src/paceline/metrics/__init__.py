"""Metrics for Prometheus: what is counted as it happens, and what is read at a scrape.

`Metrics` is a process's registry and its exposition. Histograms and gauges are for hot paths; the
``stats`` of coalescers, pools and the like are read at scrape time (`StatsCollector`, by the table
`METRIC_GROUPS`); `LoopLag` measures the event loop; `merge_expositions` joins the expositions of
several processes. Nothing is global, and each name is imported when it is first used: a process
that only merges does not import the rest. All names are listed in ``docs/metrics.md``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.metrics.histogram import ExemplarSource, Gauge, Histogram, Series
    from paceline.metrics.loop_lag import LoopLag
    from paceline.metrics.merging import merge_expositions
    from paceline.metrics.registry import Metrics
    from paceline.metrics.specs import METRIC_GROUPS, MetricGroup, MetricSpec
    from paceline.metrics.stats_collector import StatsCollector
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ExemplarSource": "histogram",
            "Gauge": "histogram",
            "Histogram": "histogram",
            "LoopLag": "loop_lag",
            "METRIC_GROUPS": "specs",
            "MetricGroup": "specs",
            "MetricSpec": "specs",
            "Metrics": "registry",
            "Series": "histogram",
            "StatsCollector": "stats_collector",
            "merge_expositions": "merging",
        },
    )

__all__ = [
    "METRIC_GROUPS",
    "ExemplarSource",
    "Gauge",
    "Histogram",
    "LoopLag",
    "MetricGroup",
    "MetricSpec",
    "Metrics",
    "Series",
    "StatsCollector",
    "merge_expositions",
]
