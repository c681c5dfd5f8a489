"""What tests of a service share: a clock that is moved by hand, real servers.

Nothing here is imported by running code. Each module stands for itself: ``clock``, ``postgres``,
``nats``, ``redis`` and ``proxy`` (free of pytest) and ``fixtures`` (pytest's way to the servers).
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.testing.cancel import cancel_at_every_await
    from paceline.testing.clock import ManualClock
    from paceline.testing.fixtures import database, nats, postgres, redis
    from paceline.testing.logs import RecordingLog, SilentLog
    from paceline.testing.nats_servers import nats_cluster
    from paceline.testing.postgres_servers import TemplateDatabase, scratch_folder
    from paceline.testing.proxy import Proxy, Way, proxy_of
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ManualClock": "clock",
            "Proxy": "proxy",
            "RecordingLog": "logs",
            "SilentLog": "logs",
            "TemplateDatabase": "postgres_servers",
            "Way": "proxy",
            "cancel_at_every_await": "cancel",
            "database": "fixtures",
            "nats": "fixtures",
            "nats_cluster": "nats_servers",
            "postgres": "fixtures",
            "proxy_of": "proxy",
            "redis": "fixtures",
            "scratch_folder": "postgres_servers",
        },
    )

__all__ = [
    "ManualClock",
    "Proxy",
    "RecordingLog",
    "SilentLog",
    "TemplateDatabase",
    "Way",
    "cancel_at_every_await",
    "database",
    "nats",
    "nats_cluster",
    "postgres",
    "proxy_of",
    "redis",
    "scratch_folder",
]
