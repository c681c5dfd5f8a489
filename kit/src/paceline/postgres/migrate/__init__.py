"""Schema migrations: SQL files applied in order, compatible with golang-migrate.

Invariant: on one database, golang-migrate's own command line and this room may be used in turn, or
at once: same file names, same version table, same dirty state, same advisory lock. `Migrator` moves
a database between versions; `SchemaUpgrade` and `SchemaCheck` are services for a process's start.
The command line is ``paceline.commands``'.

    async with open_migrator(dsn, files("myapp") / "migrations") as migrator:
        await migrator.up()
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.postgres.migrate.connection import MigrationConnection, ResultRow, ServerError
    from paceline.postgres.migrate.create import create_migration
    from paceline.postgres.migrate.errors import (
        DirtyDatabase,
        LockTimeout,
        MigrationInterrupted,
        NotEnoughMigrations,
        SharedSession,
        SourceError,
        UnknownVersion,
    )
    from paceline.postgres.migrate.failure import MigrationFailed
    from paceline.postgres.migrate.lock_wait import LockNotAvailable, LockWait
    from paceline.postgres.migrate.migrator import Migrator, Progress, WaitProgress
    from paceline.postgres.migrate.plan import MigrationState, Step
    from paceline.postgres.migrate.source import (
        Direction,
        MigrationFile,
        MigrationSource,
        read_source,
    )
    from paceline.postgres.migrate.startup import SchemaCheck, SchemaUpgrade, open_migrator
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Direction": "source",
            "DirtyDatabase": "errors",
            "LockNotAvailable": "lock_wait",
            "LockTimeout": "errors",
            "SharedSession": "errors",
            "LockWait": "lock_wait",
            "MigrationConnection": "connection",
            "MigrationFailed": "failure",
            "MigrationSource": "source",
            "MigrationState": "plan",
            "Migrator": "migrator",
            "Progress": "migrator",
            "ResultRow": "connection",
            "SchemaCheck": "startup",
            "SchemaUpgrade": "startup",
            "ServerError": "connection",
            "NotEnoughMigrations": "errors",
            "SourceError": "errors",
            "MigrationFile": "source",
            "Step": "plan",
            "MigrationInterrupted": "errors",
            "UnknownVersion": "errors",
            "WaitProgress": "migrator",
            "create_migration": "create",
            "open_migrator": "startup",
            "read_source": "source",
        },
        extra="postgres",
    )

__all__ = [
    "Direction",
    "DirtyDatabase",
    "LockNotAvailable",
    "LockTimeout",
    "LockWait",
    "MigrationConnection",
    "MigrationFailed",
    "MigrationFile",
    "MigrationInterrupted",
    "MigrationSource",
    "MigrationState",
    "Migrator",
    "NotEnoughMigrations",
    "Progress",
    "ResultRow",
    "SchemaCheck",
    "SchemaUpgrade",
    "ServerError",
    "SharedSession",
    "SourceError",
    "Step",
    "UnknownVersion",
    "WaitProgress",
    "create_migration",
    "open_migrator",
    "read_source",
]
