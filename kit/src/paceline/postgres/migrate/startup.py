"""The schema of the database as a service: it is right before anything else starts.

``run`` brings it up to date (`SchemaUpgrade`); ``serve`` only looks and refuses to come up on a
schema older than its code (`SchemaCheck`), for migrating is the operator's step. A newer schema is
fine: that is what a rolling deployment looks like from the old version. The files are in
``migrations/``; ``cli`` gives them to ``migrate``.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable

from paceline.errors import Code, Error
from paceline.postgres import connect
from paceline.postgres.migrate import DirtyDatabase, Migrator, Progress, read_source


def migrations() -> Traversable:
    """The folder of the migration files."""
    return files("myservice").joinpath("migrations")


@asynccontextmanager
async def open_migrator(
    dsn: str, progress: Progress | None = None
) -> AsyncGenerator[Migrator, None]:
    """A migrator on a connection of its own.

    *Resources*: the connection, until the block ends.
    """
    connection = await connect(dsn)
    try:
        yield Migrator(connection, read_source(migrations()), progress=progress)
    finally:
        await connection.close()


class SchemaUpgrade:
    """Applies what is missing when it starts."""

    name = "schema"

    def __init__(self, dsn: str, progress: Progress | None = None) -> None:
        self._dsn = dsn
        self._progress = progress

    async def start(self) -> None:
        """Bring the schema up to date. Errors: as for ``migrate up``."""
        async with open_migrator(self._dsn, self._progress) as migrator:
            await migrator.up()

    async def stop(self) -> None:
        """Nothing is held."""


class SchemaCheck:
    """Refuses to start on a schema that is too old or half migrated."""

    name = "schema"

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def start(self) -> None:
        """Errors: DirtyDatabase, Error(FAILED_PRECONDITION); both say what to do."""
        needed = read_source(migrations()).versions[-1]
        async with open_migrator(self._dsn) as migrator:
            state = await migrator.state()
        if state.dirty:
            raise DirtyDatabase(state.version)
        if (state.version or 0) < needed:
            raise Error(
                Code.FAILED_PRECONDITION,
                f"the schema is at version {state.version or 'none'} and this build needs "
                f"{needed}: run myservice migrate up",
            )

    async def stop(self) -> None:
        """Nothing is held."""
