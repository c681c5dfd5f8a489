"""Schema migrations: SQL files applied in order, compatible with golang-migrate.

The invariant: on one database, golang-migrate's own command line and this room may be used in turn,
or at once. Same file names, same version table, same dirty state, same advisory lock. Read
``source`` (the files), ``plan`` (what to run), ``apply`` (running it), then ``cli``. The command
line is imported from ``paceline.commands.migrate``, so that a service which only migrates at start
does not load it.
"""

from paceline.postgres.migrate.apply import Migrator, Progress
from paceline.postgres.migrate.connection import Connection, Row, ServerError
from paceline.postgres.migrate.errors import (
    DirtyDatabase,
    LockTimeout,
    ShortLimit,
    SourceError,
    Stopped,
    UnknownVersion,
)
from paceline.postgres.migrate.failure import MigrationFailed
from paceline.postgres.migrate.new import create_pair
from paceline.postgres.migrate.plan import State, Step
from paceline.postgres.migrate.source import Direction, Source, SourceFile, read_source

__all__ = [
    "Connection",
    "Direction",
    "DirtyDatabase",
    "LockTimeout",
    "MigrationFailed",
    "Migrator",
    "Progress",
    "Row",
    "ServerError",
    "ShortLimit",
    "Source",
    "SourceError",
    "SourceFile",
    "State",
    "Step",
    "Stopped",
    "UnknownVersion",
    "create_pair",
    "read_source",
]
