"""A live view of a running instance, by what its admin port tells: rates, latencies, queues, log.

Invariant: it only asks, once a second, for what anybody could scrape, so a look changes nothing and
costs the instance next to nothing. It needs no metric in particular: what an instance does not have
is not shown. Read ``instance`` (asking), ``exposition`` (reading metrics), ``figures`` (two looks
become rates), ``panels`` (figures become text) and ``live``, the only file that knows the terminal
library and is imported only by who shows a screen.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.commands.top.draw import duration, number, size
    from paceline.commands.top.instance import Away, Instance
    from paceline.commands.top.live import TopApp
    from paceline.commands.top.snapshot import once
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Away": "instance",
            "Instance": "instance",
            "TopApp": "live",
            "duration": "draw",
            "number": "draw",
            "once": "snapshot",
            "size": "draw",
        },
        extra="console",
    )

__all__ = ["Away", "Instance", "TopApp", "duration", "number", "once", "size"]
