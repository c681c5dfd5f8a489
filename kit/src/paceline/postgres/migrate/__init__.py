"""Schema migrations: SQL files applied in order, compatible with golang-migrate.

The invariant: on one database, golang-migrate's own command line and this room may be used in turn,
or at once. Same file names, same version table, same dirty state, same advisory lock. Read
``source`` (the files), ``plan`` (what to run), ``apply`` (running it), then ``cli``. The command
line is imported from ``paceline.commands.migrate``, so that a service which only migrates at start
does not load it.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.migrate.connection import MigrationConnection, Row, ServerError
    from paceline.postgres.migrate.create import create_pair
    from paceline.postgres.migrate.errors import (
        DirtyDatabase,
        LockTimeout,
        ShortLimit,
        SourceError,
        Stopped,
        UnknownVersion,
    )
    from paceline.postgres.migrate.failure import MigrationFailed
    from paceline.postgres.migrate.migrator import Migrator, Progress
    from paceline.postgres.migrate.plan import MigrationState, Step
    from paceline.postgres.migrate.source import Direction, MigrationSource, SourceFile, read_source
    from paceline.postgres.migrate.startup import SchemaCheck, SchemaUpgrade, open_migrator
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Direction": "source",
            "DirtyDatabase": "errors",
            "LockTimeout": "errors",
            "MigrationConnection": "connection",
            "MigrationFailed": "failure",
            "MigrationSource": "source",
            "MigrationState": "plan",
            "Migrator": "migrator",
            "Progress": "migrator",
            "Row": "connection",
            "SchemaCheck": "startup",
            "SchemaUpgrade": "startup",
            "ServerError": "connection",
            "ShortLimit": "errors",
            "SourceError": "errors",
            "SourceFile": "source",
            "Step": "plan",
            "Stopped": "errors",
            "UnknownVersion": "errors",
            "create_pair": "create",
            "open_migrator": "startup",
            "read_source": "source",
        },
        extra="postgres",
    )

__all__ = [
    "Direction",
    "DirtyDatabase",
    "LockTimeout",
    "MigrationConnection",
    "MigrationFailed",
    "MigrationSource",
    "MigrationState",
    "Migrator",
    "Progress",
    "Row",
    "SchemaCheck",
    "SchemaUpgrade",
    "ServerError",
    "ShortLimit",
    "SourceError",
    "SourceFile",
    "Step",
    "Stopped",
    "UnknownVersion",
    "create_pair",
    "open_migrator",
    "read_source",
]
