"""The version table, ``schema_migrations(version, dirty)``: one row, or none.

Created and written exactly as golang-migrate does: in the schema that is current at the first read
(a migration may change ``search_path`` later), the row replaced by truncate and insert in one
transaction, no row for no version, and -1 only for a failed step down to none. Reading creates
nothing, so a role with read rights only can read the version.
"""

from dataclasses import dataclass

from paceline.errors import Code, Error
from paceline.postgres.migrate.connection import MigrationConnection
from paceline.postgres.migrate.plan import MigrationState

_NO_VERSION = -1

_LOCATE = """
SELECT current_database()::text AS database, current_schema()::text AS schema,
    to_regclass(quote_ident(current_schema()) || '.' || quote_ident($1)) IS NOT NULL AS exists
"""


@dataclass(frozen=True, slots=True)
class TableLocation:
    """Where the table is, and whether it exists."""

    database: str
    schema: str
    exists: bool


class VersionTable:
    """Reads and writes the version over one connection."""

    def __init__(self, connection: MigrationConnection, name: str) -> None:
        self._connection = connection
        self._location: TableLocation | None = None
        self.name = name

    async def locate(self) -> TableLocation:
        """Where the table is; queried until the table exists.

        Errors: ``Error(FAILED_PRECONDITION)`` when the ``search_path`` names no existing schema.
        """
        if self._location is None or not self._location.exists:
            row = await self._connection.fetchrow(_LOCATE, self.name)
            if row is None or row["schema"] is None:
                raise Error(
                    Code.FAILED_PRECONDITION,
                    "no schema to migrate: the session's search_path names none that exists",
                )
            self._location = TableLocation(row["database"], row["schema"], row["exists"])
        return self._location

    async def read(self) -> MigrationState:
        """The table's content; no version when it does not exist."""
        location = await self.locate()
        if not location.exists:
            return MigrationState(None)
        row = await self._connection.fetchrow(
            f"SELECT version, dirty FROM {self._quoted(location)} LIMIT 1"  # noqa: S608 - quoted
        )
        if row is None:
            return MigrationState(None)
        version: int = row["version"]
        return MigrationState(None if version == _NO_VERSION else version, row["dirty"])

    async def ensure(self) -> None:
        """Create the table unless it exists, which needs no right to create one then."""
        location = await self.locate()
        if not location.exists:
            await self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._quoted(location)}"
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

    def _quoted(self, location: TableLocation) -> str:
        return f"{_identifier(location.schema)}.{_identifier(self.name)}"


def _identifier(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
