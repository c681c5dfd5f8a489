"""Migrations at the start of a process: apply what is missing, or refuse to run without it.

`SchemaUpgrade` and `SchemaCheck` are services for a lifecycle, started before anything that uses
the tables. Invariant: after either has started, the schema is at least as new as this build's
migrations, and not half migrated. A newer schema is accepted: that is what the old version of a
service sees during a rolling deployment. Rejected: upgrading in every process that serves, which
gives each of them the right to change tables and makes a deployment's order matter.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources.abc import Traversable
from typing import Final

from paceline.errors import Code, Error
from paceline.postgres.connector import Connector, wait_for_server
from paceline.postgres.migrate.errors import DirtyDatabase
from paceline.postgres.migrate.failure import MigrationFailed
from paceline.postgres.migrate.lock_wait import LockWait
from paceline.postgres.migrate.migrator import Migrator, Progress
from paceline.postgres.migrate.source import read_source
from paceline.postgres.migrate.statements import is_one_transaction

_PATIENCE: Final = 10.0


@asynccontextmanager
async def open_migrator(
    dsn: str,
    folder: Traversable,
    progress: Progress | None = None,
    *,
    lock_wait: LockWait | None = None,
) -> AsyncGenerator[Migrator, None]:
    """A migrator for the files in ``folder``, on a connection of its own.

        async with open_migrator(dsn, files("myapp") / "migrations") as migrator:
            await migrator.up()

    Through a pooler that may share sessions the state can be read, and nothing be migrated.
    Errors: `SourceError`; ``DatabaseError(UNAVAILABLE)`` when there is no connection.

    *Resources*: the connection, until the block ends.
    """
    source = read_source(folder)
    connector = Connector(dsn)
    connection = await wait_for_server(connector.open, dsn, _PATIENCE)
    try:
        yield Migrator(
            connection, source, progress=progress, lock_wait=lock_wait,
            shares_session=bool(connector.shares_sessions),
        )  # fmt: skip
    finally:
        await connection.close()


class SchemaUpgrade:
    """Applies the migrations that are missing, when it starts.

    ``retry``: a migration that fails and is one transaction has changed nothing, so the version is
    set back and the next start tries again; for development, where its file is being written.
    """

    name = "schema"

    def __init__(
        self,
        dsn: str,
        folder: Traversable,
        progress: Progress | None = None,
        *,
        retry: bool = False,
    ) -> None:
        self._dsn = dsn
        self._folder = folder
        self._progress = progress
        self._retry = retry

    async def start(self) -> None:
        """Bring the schema up to date. Errors: as `Migrator.up` and `open_migrator`."""
        async with open_migrator(self._dsn, self._folder, self._progress) as migrator:
            try:
                await migrator.up()
            except MigrationFailed as exc:
                if self._retry and is_one_transaction(exc.step.file.read()):
                    earlier = [
                        version
                        for version in read_source(self._folder).versions
                        if version < exc.step.file.version
                    ]
                    await migrator.force(max(earlier, default=None))
                    exc.explain_rollback()
                raise

    async def stop(self) -> None:
        """Nothing is held."""


class SchemaCheck:
    """Refuses to start on a schema that is too old or half migrated; changes nothing.

    ``program``: the command that has ``migrate``, for the error's text.
    """

    name = "schema"

    def __init__(self, dsn: str, folder: Traversable, *, program: str) -> None:
        self._dsn = dsn
        self._folder = folder
        self._program = program

    async def start(self) -> None:
        """Compare the schema's version with the newest migration.

        Errors: `DirtyDatabase`; ``Error(FAILED_PRECONDITION)`` for an old schema, which names the
        command to run; as `open_migrator`.
        """
        versions = read_source(self._folder).versions
        needed = versions[-1] if versions else 0
        async with open_migrator(self._dsn, self._folder) as migrator:
            state = await migrator.state()
        if state.dirty:
            raise DirtyDatabase(state.version)
        if (state.version or 0) < needed:
            raise Error(
                Code.FAILED_PRECONDITION,
                f"the schema is at version {state.version or 'none'} and this build needs "
                f"{needed}: run {self._program} migrate up",
            )

    async def stop(self) -> None:
        """Nothing is held."""
