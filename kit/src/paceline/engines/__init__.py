"""Embedded engines: PostgreSQL, NATS and Redis as child processes, for development and tests.

The programs come from wheels (the extra ``engines``) or from the system. Invariants: a server ends
with the process that started it, even after ``kill -9``; its data stays in the folder it was given;
one process at a time uses a data folder; nothing else on the machine is changed. Not for
production, where a process is given the addresses of its servers.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.engines.errors import EngineError
    from paceline.engines.folder import read_or_create_text
    from paceline.engines.group import Engine, EngineGroup
    from paceline.engines.nats import NatsEngine
    from paceline.engines.nats_config import NatsNode
    from paceline.engines.ports import free_ports
    from paceline.engines.postgres import PostgresEngine
    from paceline.engines.programs import find_psql
    from paceline.engines.redis import RedisEngine
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Engine": "group",
            "EngineError": "errors",
            "EngineGroup": "group",
            "NatsEngine": "nats",
            "NatsNode": "nats_config",
            "PostgresEngine": "postgres",
            "RedisEngine": "redis",
            "find_psql": "programs",
            "free_ports": "ports",
            "read_or_create_text": "folder",
        },
    )

__all__ = [
    "Engine",
    "EngineError",
    "EngineGroup",
    "NatsEngine",
    "NatsNode",
    "PostgresEngine",
    "RedisEngine",
    "find_psql",
    "free_ports",
    "read_or_create_text",
]
