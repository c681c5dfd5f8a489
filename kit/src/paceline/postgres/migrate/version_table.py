"""The version table, ``schema_migrations(version, dirty)``: one row, or none.

Made and written exactly as golang-migrate does: in the schema that is current when the migrator
first looks (a migration may change ``search_path`` later), the row replaced by truncate and
insert in one transaction, no row for no version, and -1 only for a failed step down to none.
Reading makes nothing, so a role that may only read can ask for the version.
Used by ``apply``.
"""

from dataclasses import dataclass

from paceline.errors import Code, Error
from paceline.postgres.migrate.connection import MigrationConnection
from paceline.postgres.migrate.plan import MigrationState

_NO_VERSION = -1

_LOCATE = """
SELECT current_database()::text AS database, current_schema()::text AS schema,
    to_regclass(quote_ident(current_schema()) || '.' || quote_ident($1)) IS NOT NULL AS made
"""


@dataclass(frozen=True, slots=True)
class Home:
    """Where the table is, and whether it has been made."""

    database: str
    schema: str
    made: bool


class VersionTable:
    """Reads and writes the version over one connection."""

    def __init__(self, connection: MigrationConnection, name: str) -> None:
        self._connection = connection
        self._home: Home | None = None
        self.name = name

    async def locate(self) -> Home:
        """Where the table is; asks only until it is known to be made.

        Errors: ``Error(FAILED_PRECONDITION)`` when the ``search_path`` names no existing schema.
        """
        if self._home is None or not self._home.made:
            row = await self._connection.fetchrow(_LOCATE, self.name)
            if row is None or row["schema"] is None:
                raise Error(
                    Code.FAILED_PRECONDITION,
                    "no schema to migrate: the session's search_path names none that exists",
                )
            self._home = Home(row["database"], row["schema"], row["made"])
        return self._home

    async def read(self) -> MigrationState:
        """What the table says; no version when it is not there."""
        home = await self.locate()
        if not home.made:
            return MigrationState(None)
        row = await self._connection.fetchrow(
            f"SELECT version, dirty FROM {self._quoted(home)} LIMIT 1"  # noqa: S608 - quoted
        )
        if row is None:
            return MigrationState(None)
        version: int = row["version"]
        return MigrationState(None if version == _NO_VERSION else version, row["dirty"])

    async def ensure(self) -> None:
        """Make the table if need be; under the lock, and without asking for rights it has not."""
        home = await self.locate()
        if not home.made:
            await self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._quoted(home)}"
                " (version bigint not null primary key, dirty boolean not null)"
            )
            await self.locate()

    async def write(self, state: MigrationState) -> None:
        """Replace the row: one simple query, so one transaction."""
        table = self._quoted(await self.locate())
        query = f"TRUNCATE {table}"
        if state.version is not None or state.dirty:
            version = _NO_VERSION if state.version is None else state.version
            dirty = "true" if state.dirty else "false"
            row = f"({version:d}, {dirty})"
            query += f"; INSERT INTO {table} (version, dirty) VALUES {row}"  # noqa: S608 - quoted
        await self._connection.execute(query)

    def _quoted(self, home: Home) -> str:
        return f"{_identifier(home.schema)}.{_identifier(self.name)}"


def _identifier(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
