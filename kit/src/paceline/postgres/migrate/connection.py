"""The database connection that the migrator needs, and the fields of a server's error.

Both are protocols: an ``asyncpg`` connection and its ``PostgresError`` satisfy them. The connection
must be a session of its own (never through a pooler that shares sessions between statements),
because the migration lock belongs to the session, and it must have no command timeout, because a
migration may take hours.
"""

from typing import Any, Protocol, runtime_checkable


class ResultRow(Protocol):
    """One row of a result: the decode point, where a column's type comes from the query."""

    def __getitem__(self, key: str, /) -> Any:
        """The value of the column called ``key``."""
        ...


class MigrationConnection(Protocol):
    """One open session with PostgreSQL."""

    async def execute(self, query: str, /, *args: object) -> object:
        """Run ``query``; with no arguments, as one simple query of any number of statements."""
        ...

    async def fetchrow(self, query: str, /, *args: object) -> ResultRow | None:
        """Run ``query`` and return its first row."""
        ...

    async def fetchval(self, query: str, /, *args: object) -> Any:
        """Run ``query`` and return the first column of its first row."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether the session is inside a transaction block, a failed one included."""
        ...


@runtime_checkable
class ServerError(Protocol):
    """An error report of the PostgreSQL server, field by field as the protocol names them."""

    sqlstate: str | None
    message: str | None
    detail: str | None
    hint: str | None
    position: str | None
    context: str | None
    schema_name: str | None
    table_name: str | None
    column_name: str | None
    constraint_name: str | None
