"""A connection while it is checked out: statements in, rows or translated errors out.

Invariant: every statement ends by the ambient deadline at the latest, and what leaves is an
`Error`. It also remembers what the pool must know when it comes back: whether a statement was cut
off half way (`interrupted`: the connection is then not used again) and whether one left something
in the session (`stateful`). Values of json and jsonb go in and out as text, unparsed.
Handed out by ``pool``; repositories name it in their signatures. Read ``pool`` next.
"""

import asyncio
from types import TracebackType
from typing import Any, Final, LiteralString

import asyncpg

from paceline.deadline import blame, ran_out, remaining
from paceline.errors import Code
from paceline.pg.errors import DRIVER_ERRORS, DatabaseError, is_refusal, translate
from paceline.pg.session import leaves_state

_QUERY: Final = "a database query"

Row = asyncpg.Record
"""One row of a result: by column name or by position; its values are as the query makes them."""


class Connection:
    """A checked-out connection; of no use after its block.

    Errors of every method: `DatabaseError`; DEADLINE_EXCEEDED when the command timeout or the
    ambient deadline strikes, in which case the statement is cancelled in the server too.
    """

    __slots__ = ("_command_timeout", "_raw", "interrupted", "stateful")

    def __init__(
        self, raw: asyncpg.Connection, command_timeout: float, *, stateful: bool = False
    ) -> None:
        self._raw: asyncpg.Connection | None = raw
        self._command_timeout = command_timeout
        self.stateful = stateful
        self.interrupted = False

    async def fetch(self, sql: LiteralString, *args: object) -> list[Row]:
        """All rows."""
        with _Statement(self, sql) as raw:
            return await raw.fetch(sql, *args, timeout=self._budget())

    async def fetchrow(self, sql: LiteralString, *args: object) -> Row | None:
        """The first row, or None."""
        with _Statement(self, sql) as raw:
            return await raw.fetchrow(sql, *args, timeout=self._budget())

    async def fetchval(self, sql: LiteralString, *args: object) -> Any:
        """The first column of the first row, or None: a decode point, the query gives the type."""
        with _Statement(self, sql) as raw:
            return await raw.fetchval(sql, *args, timeout=self._budget())

    async def execute(self, sql: LiteralString, *args: object) -> str:
        """Run it and give the server's command tag ("UPDATE 1")."""
        with _Statement(self, sql) as raw:
            return await raw.execute(sql, *args, timeout=self._budget())

    async def control(self, sql: LiteralString, *, seconds: float | None = None) -> str:
        """Run a statement of this room's own, one that begins or ends a transaction.

        ``seconds`` takes the place of the command timeout and the ambient deadline.
        """
        with _Statement(self) as raw:
            return await raw.execute(sql, timeout=self._budget() if seconds is None else seconds)

    async def reset(self, seconds: float) -> None:
        """Roll back what is open and bring the session back to how it was opened."""
        with _Statement(self) as raw:
            if raw.is_in_transaction():
                await raw.execute("ROLLBACK", timeout=seconds)
            await raw.execute(raw.get_reset_query(), timeout=seconds)

    def release(self) -> None:
        """End the checkout: whoever still holds on to this can do nothing with it."""
        self._raw = None

    def ready(self) -> asyncpg.Connection:
        """The driver's connection, for one statement."""
        if self._raw is None:
            raise RuntimeError("a database connection was used after the end of its block")
        return self._raw

    def _budget(self) -> float:
        left = remaining()
        if left is None:
            return self._command_timeout
        if left == 0:
            raise DatabaseError(Code.DEADLINE_EXCEEDED, ran_out(_QUERY))
        return min(left, self._command_timeout)


class _Statement:
    """One statement under way: translates what the driver raises and notes what was cut off."""

    __slots__ = ("_connection", "_raw")

    def __init__(self, connection: Connection, sql: str | None = None) -> None:
        self._connection = connection
        self._raw = connection.ready()
        if sql is not None and not connection.stateful:
            connection.stateful = leaves_state(sql)

    def __enter__(self) -> asyncpg.Connection:
        return self._raw

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            return
        if not is_refusal(exc):
            self._connection.interrupted = True
            if isinstance(exc, asyncio.CancelledError):
                blame(_QUERY)
        if isinstance(exc, asyncpg.InterfaceError) and self._raw.is_closed():
            raise DatabaseError(Code.UNAVAILABLE) from exc
        if isinstance(exc, TimeoutError):
            raise DatabaseError(Code.DEADLINE_EXCEEDED, ran_out(_QUERY)) from exc
        if isinstance(exc, DRIVER_ERRORS):
            raise translate(exc) from exc
