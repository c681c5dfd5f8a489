"""Real servers inside our own process tree, for ``run`` and for tests: nobody has to install one.

Invariants: a server goes when we go, however we go; its data stays where it was told to; one
process at a time on a data folder; nothing on the machine is widened or created besides.
``main`` hands engines to the lifecycle as its first service, ``paceline.testing`` starts them for
a test session; ``serve``, ``worker`` and ``migrate`` never do. Read ``postgres`` or ``nats`` first.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.engines.errors import EngineError
    from paceline.engines.folder import kept_text
    from paceline.engines.group import EngineGroup
    from paceline.engines.nats import NatsEngine, nats_url_of
    from paceline.engines.nats_config import NatsNode
    from paceline.engines.ports import free_ports
    from paceline.engines.postgres import PostgresEngine
    from paceline.engines.redis import RedisEngine
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "EngineError": "errors",
            "EngineGroup": "group",
            "NatsEngine": "nats",
            "NatsNode": "nats_config",
            "PostgresEngine": "postgres",
            "RedisEngine": "redis",
            "free_ports": "ports",
            "kept_text": "folder",
            "nats_url_of": "nats",
        },
        extra="engines",
    )

__all__ = [
    "EngineError",
    "EngineGroup",
    "NatsEngine",
    "NatsNode",
    "PostgresEngine",
    "RedisEngine",
    "free_ports",
    "kept_text",
    "nats_url_of",
]
