"""A checked-out connection: statements in, rows or translated errors out.

Invariant: every statement ends by the ambient deadline at the latest, and its failure is an
`Error`. The connection records what the pool needs at the end of the checkout: whether a statement
was interrupted before its answer was complete (the connection is then closed), whether one changed
the session (it is then reset), and whether the server refused a write as read-only. Values of json
and jsonb go in and out as text, unparsed.
"""

import asyncio
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar

import asyncpg

from paceline.concurrency import current_deadline, expired, name_timeout, timeout_message
from paceline.errors import Code, Error
from paceline.postgres import spans
from paceline.postgres.errors import (
    DRIVER_ERRORS,
    DatabaseError,
    OutcomeUnknown,
    is_read_only,
    leaves_connection_usable,
    translate,
    was_sent,
)
from paceline.postgres.session_state import changes_session, may_write

T = TypeVar("T")

_QUERY: Final = "a database query"
_UNKNOWN: Final = "outcome unknown: the write was under way"

Row = asyncpg.Record
"""One row of a result: by column name or by position; its values are as the query makes them."""


class Connection:
    """A checked-out connection; using it after its block raises ``RuntimeError``.

    Errors of every method: `DatabaseError`; DEADLINE_EXCEEDED when the command timeout or the
    ambient deadline expires; the statement is then cancelled in the server, too. `OutcomeUnknown`
    for a write outside of a transaction that was sent and whose answer was lost or came too late.
    """

    __slots__ = (
        "_command_timeout",
        "_raw",
        "expects_read_only",
        "interrupted",
        "needs_reset",
        "read_only",
    )

    def __init__(
        self, raw: asyncpg.Connection, command_timeout: float, *, needs_reset: bool = False
    ) -> None:
        self._raw: asyncpg.Connection | None = raw
        self._command_timeout = command_timeout
        self.needs_reset: bool = needs_reset
        self.interrupted: bool = False
        self.read_only: bool = False
        self.expects_read_only: bool = False

    async def fetch(self, sql: LiteralString, *args: object) -> list[Row]:
        """All rows."""
        with _Statement(self, sql) as statement:
            rows = await statement.raw.fetch(sql, *args, timeout=self._budget())
            return statement.complete(rows, len(rows))

    async def fetchrow(self, sql: LiteralString, *args: object) -> Row | None:
        """The first row, or None."""
        with _Statement(self, sql) as statement:
            row = await statement.raw.fetchrow(sql, *args, timeout=self._budget())
            return statement.complete(row, 0 if row is None else 1)

    async def fetchval(self, sql: LiteralString, *args: object) -> Any:
        """The first column of the first row, or None: a decode point, the query gives the type."""
        with _Statement(self, sql) as statement:
            value = await statement.raw.fetchval(sql, *args, timeout=self._budget())
            return statement.complete(value, 1)

    async def execute(self, sql: LiteralString, *args: object) -> str:
        """Run it and give the server's command tag ("UPDATE 1")."""
        with _Statement(self, sql) as statement:
            tag = await statement.raw.execute(sql, *args, timeout=self._budget())
            return statement.complete(tag, tag)

    async def control(self, sql: LiteralString, *, seconds: float | None = None) -> str:
        """Run a statement of the pool's own, one that begins or ends a transaction.

        ``seconds`` replaces the command timeout and the ambient deadline.
        """
        with _Statement(self, sql, internal=True) as statement:
            budget = self._budget() if seconds is None else seconds
            return statement.complete(await statement.raw.execute(sql, timeout=budget), None)

    async def reset(self, seconds: float) -> None:
        """Roll back an open transaction and restore the session's initial settings."""
        with _Statement(self, "RESET", internal=True) as statement:
            raw = statement.raw
            if raw.is_in_transaction():
                await raw.execute("ROLLBACK", timeout=seconds)
            statement.complete(await raw.execute(raw.get_reset_query(), timeout=seconds), None)

    def detach(self) -> None:
        """End the checkout: every later use raises ``RuntimeError``."""
        self._raw = None

    def driver_connection(self) -> asyncpg.Connection:
        """The driver's connection, for one statement."""
        if self._raw is None:
            raise RuntimeError("a database connection was used after the end of its block")
        return self._raw

    def _budget(self) -> float | None:
        """The seconds after which the driver interrupts a statement.

        None where the deadline cancels this very task before that: a timer of the driver's own
        would cost a twentieth of the statement.
        """
        deadline = current_deadline()
        if deadline is None:
            return self._command_timeout
        loop = asyncio.get_running_loop()
        left = deadline.when - loop.time()
        if left <= 0:
            raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_QUERY))
        if left > self._command_timeout:
            return self._command_timeout
        return None if deadline.task is asyncio.current_task(loop) else left


class _Statement:
    """One statement: translates the driver's errors, records interruptions, ends the span.

    ``internal``: the pool's own, which leaves no session state to the caller's statements.
    """

    __slots__ = ("_connection", "_internal", "_span", "_sql", "raw")

    def __init__(self, connection: Connection, sql: str, *, internal: bool = False) -> None:
        self._connection = connection
        self._sql = sql
        self._internal = internal
        self.raw = connection.driver_connection()
        if not internal and not connection.needs_reset:
            connection.needs_reset = changes_session(sql)
        self._span = spans.start_span(sql)

    def __enter__(self) -> Self:
        return self

    def complete(self, answer: T, rows: int | str | None) -> T:
        """End the span and return ``answer``, which has so many ``rows``, if any."""
        if self._span is not None:
            spans.end_span(self._span, rows)
        return answer

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            return
        if not leaves_connection_usable(exc):
            self._connection.interrupted = True
            if isinstance(exc, asyncio.CancelledError):
                name_timeout(_QUERY)
        if is_read_only(exc) and not self._connection.expects_read_only:
            self._connection.read_only = True
        failure = self._translated(exc)
        if self._span is not None:
            sqlstate = failure.sqlstate if isinstance(failure, DatabaseError) else None
            spans.fail_span(self._span, failure or exc, sqlstate)
        if failure is not None:
            raise failure from exc

    def _translated(self, exc: BaseException) -> Error | None:
        if isinstance(exc, asyncpg.InterfaceError) and self.raw.is_closed():
            return DatabaseError(Code.UNAVAILABLE)
        too_late = isinstance(exc, asyncio.CancelledError) and expired()
        if (too_late or was_sent(exc)) and self._takes_effect_alone:
            if too_late or isinstance(exc, TimeoutError):
                why = timeout_message(_QUERY) or "the database took too long"
                return OutcomeUnknown(f"{_UNKNOWN}: {why}", code=Code.DEADLINE_EXCEEDED)
            return OutcomeUnknown(f"{_UNKNOWN}: the connection was lost")
        if isinstance(exc, TimeoutError):
            return DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message(_QUERY))
        return translate(exc) if isinstance(exc, DRIVER_ERRORS) else None

    @property
    def _takes_effect_alone(self) -> bool:
        """Whether it is a write outside of a transaction, which is rolled back when it is lost."""
        return not self._internal and not self.raw.is_in_transaction() and may_write(self._sql)
