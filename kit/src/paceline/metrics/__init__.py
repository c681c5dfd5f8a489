"""Metrics for Prometheus: what is counted as it happens, and what is read when somebody asks.

``registry`` has `Metrics`, which ``main`` builds and hands on; ``histogram`` is the hot path;
``watch`` reads the ``stats`` of coalescers, pools and the like at scrape time; ``loop`` measures
the event loop; ``merge`` makes one exposition of several processes'. Nothing is global, and nothing
is imported here: who merges or measures does not pay for the rest. Every name is in
``docs/metrics.md``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.metrics.histogram import Series
    from paceline.metrics.loop_lag import LoopLag
    from paceline.metrics.merging import merge
    from paceline.metrics.registry import Metrics
    from paceline.metrics.specs import GROUPS
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "GROUPS": "specs",
            "LoopLag": "loop_lag",
            "Metrics": "registry",
            "Series": "histogram",
            "merge": "merging",
        },
        extra="metrics",
    )

__all__ = ["GROUPS", "LoopLag", "Metrics", "Series", "merge"]
