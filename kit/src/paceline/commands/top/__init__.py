"""A live view of a running instance, from its admin port: rates, latencies, queues and log.

Invariant: it only reads, once a second, what anybody could scrape, so it changes nothing and costs
the instance next to nothing. No metric is required: what an instance does not have is not shown.
The terminal library is imported for a screen only (`TopApp`).
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.top.client import AdminClient, Snapshot, Trust, Unreachable
    from paceline.commands.top.live import TopApp
    from paceline.commands.top.report import make_report
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "AdminClient": "client",
            "Snapshot": "client",
            "TopApp": "live",
            "Trust": "client",
            "Unreachable": "client",
            "make_report": "report",
        },
        extra="console",
    )

__all__ = ["AdminClient", "Snapshot", "TopApp", "Trust", "Unreachable", "make_report"]
