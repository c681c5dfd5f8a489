"""What the migrator asks of a database driver, and what it reads from a server's error.

Both are structural, so this room imports no driver: an ``asyncpg`` connection and its
``PostgresError`` fit as they are. The connection must be one session of its own (never a pooler
that shares it between statements), because the migration lock lives in the session, and it must
have no command timeout, because a migration takes as long as it takes.
Used by the rest of this room; read ``table`` and ``lock`` next.
"""

from typing import Any, Protocol, runtime_checkable


class Row(Protocol):
    """One row of a result: the decode point, where a column's type comes from the query."""

    def __getitem__(self, key: str, /) -> Any:
        """The value of the column called ``key``."""
        ...


class MigrationConnection(Protocol):
    """One open session with PostgreSQL."""

    async def execute(self, query: str, /, *args: object) -> object:
        """Run ``query``; with no arguments, as one simple query of any number of statements."""
        ...

    async def fetchrow(self, query: str, /, *args: object) -> Row | None:
        """Run ``query`` and give its first row."""
        ...

    async def fetchval(self, query: str, /, *args: object) -> Any:
        """Run ``query`` and give the first column of its first row."""
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
