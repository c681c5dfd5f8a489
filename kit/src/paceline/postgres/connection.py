"""A connection while it is checked out: statements in, rows or translated errors out.

Invariant: every statement ends by the ambient deadline at the latest, and what leaves is an
`Error`. It also remembers what the pool must know when it comes back: whether a statement was cut
off half way (`interrupted`: the connection is then not used again) and whether one left something
in the session (`stateful`). Values of json and jsonb go in and out as text, unparsed.
Handed out by ``pool``; repositories name it in their signatures. Read ``pool`` next.
"""

import asyncio
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar

import asyncpg

from paceline.concurrency import name_timeout, remaining, timeout_message
from paceline.errors import Code, Error
from paceline.postgres import spans
from paceline.postgres.errors import DRIVER_ERRORS, DatabaseError, is_refusal, translate
from paceline.postgres.session import leaves_state

T = TypeVar("T")

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
        self.stateful: bool = stateful
        self.interrupted: bool = False

    async def fetch(self, sql: LiteralString, *args: object) -> list[Row]:
        """All rows."""
        with _Statement(self, sql) as statement:
            rows = await statement.raw.fetch(sql, *args, timeout=self._budget())
            return statement.answered(rows, len(rows))

    async def fetchrow(self, sql: LiteralString, *args: object) -> Row | None:
        """The first row, or None."""
        with _Statement(self, sql) as statement:
            row = await statement.raw.fetchrow(sql, *args, timeout=self._budget())
            return statement.answered(row, 0 if row is None else 1)

    async def fetchval(self, sql: LiteralString, *args: object) -> Any:
        """The first column of the first row, or None: a decode point, the query gives the type."""
        with _Statement(self, sql) as statement:
            value = await statement.raw.fetchval(sql, *args, timeout=self._budget())
            return statement.answered(value, 1)

    async def execute(self, sql: LiteralString, *args: object) -> str:
        """Run it and give the server's command tag ("UPDATE 1")."""
        with _Statement(self, sql) as statement:
            tag = await statement.raw.execute(sql, *args, timeout=self._budget())
            return statement.answered(tag, tag)

    async def control(self, sql: LiteralString, *, seconds: float | None = None) -> str:
        """Run a statement of this room's own, one that begins or ends a transaction.

        ``seconds`` takes the place of the command timeout and the ambient deadline.
        """
        with _Statement(self, sql, ours=True) as statement:
            budget = self._budget() if seconds is None else seconds
            return statement.answered(await statement.raw.execute(sql, timeout=budget), None)

    async def reset(self, seconds: float) -> None:
        """Roll back what is open and bring the session back to how it was opened."""
        with _Statement(self, "RESET", ours=True) as statement:
            raw = statement.raw
            if raw.is_in_transaction():
                await raw.execute("ROLLBACK", timeout=seconds)
            statement.answered(await raw.execute(raw.get_reset_query(), timeout=seconds), None)

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
            raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_QUERY))
        return min(left, self._command_timeout)


class _Statement:
    """One statement under way: translates what the driver raises and notes what was cut off.

    ``ours``: it leaves nothing in the session that the caller's statements could meet.
    """

    __slots__ = ("_connection", "_span", "raw")

    def __init__(self, connection: Connection, sql: str, *, ours: bool = False) -> None:
        self._connection = connection
        self.raw = connection.ready()
        if not ours and not connection.stateful:
            connection.stateful = leaves_state(sql)
        self._span = spans.begin(sql)

    def __enter__(self) -> Self:
        return self

    def answered(self, answer: T, rows: int | str | None) -> T:
        """The answer, which tells of so many rows, if of any."""
        if self._span is not None:
            spans.end(self._span, rows)
        return answer

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
                name_timeout(_QUERY)
        failure = self._translated(exc)
        if self._span is not None:
            sqlstate = failure.sqlstate if isinstance(failure, DatabaseError) else None
            spans.end_failed(self._span, failure or exc, sqlstate)
        if failure is not None:
            raise failure from exc

    def _translated(self, exc: BaseException) -> Error | None:
        if isinstance(exc, asyncpg.InterfaceError) and self.raw.is_closed():
            return DatabaseError(Code.UNAVAILABLE)
        if isinstance(exc, TimeoutError):
            return DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_QUERY))
        return translate(exc) if isinstance(exc, DRIVER_ERRORS) else None
