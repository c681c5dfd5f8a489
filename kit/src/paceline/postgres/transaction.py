"""Transactions: a block between BEGIN and COMMIT on a connection that is checked out.

An exception rolls back; a cancellation does so by closing the connection, so that unwinding waits
for nothing. Invariant: a block that ends without an exception is committed. A connection lost
during COMMIT raises `OutcomeUnknown`; a COMMIT that the server turned into a ROLLBACK, because the
block caught the error of a failed statement, raises, too, and is not a silent loss.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal, LiteralString

import asyncpg

from paceline.concurrency import expired, remaining, timeout_message
from paceline.errors import Code
from paceline.postgres.connection import Connection
from paceline.postgres.errors import DatabaseError, OutcomeUnknown

IsolationLevel = Literal["read_committed", "repeatable_read", "serializable"]

_LEVELS: Final[Mapping[IsolationLevel, LiteralString]] = {
    "read_committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "repeatable_read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}
_SAFE_TO_REPEAT: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_ROLLBACK_TIMEOUT: Final = 2.0


@asynccontextmanager
async def open_transaction(
    connection: Connection, isolation: IsolationLevel, *, read_only: bool
) -> AsyncGenerator[Connection]:
    """Run the block in a transaction; see ``Pool.transaction``."""
    begin = _LEVELS[isolation]
    await connection.control(f"{begin} READ ONLY" if read_only else begin)
    connection.expects_read_only = read_only
    try:
        yield connection
    except Exception:
        await _roll_back(connection)
        raise
    await _commit(connection)


async def _roll_back(connection: Connection) -> None:
    if connection.interrupted:
        return  # the pool closes the connection, and with it the transaction
    try:
        await connection.control("ROLLBACK", seconds=_ROLLBACK_TIMEOUT)
    except DatabaseError:
        connection.interrupted = True  # not raised: the caller needs the error that led here


async def _commit(connection: Connection) -> None:
    if remaining() == 0:
        await _roll_back(connection)
        raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message("a transaction"))
    try:
        tag = await connection.control("COMMIT")
    except asyncio.CancelledError as exc:
        if not expired():
            raise
        message = f"outcome unknown: {timeout_message('a transaction')}, during commit"
        raise OutcomeUnknown(message, code=Code.DEADLINE_EXCEEDED) from exc
    except DatabaseError as exc:
        if exc.sqlstate is None:
            connection.interrupted = True  # the server did not confirm the transaction's end
        if _outcome_is_known(exc):
            raise
        raise OutcomeUnknown from exc
    if tag == "ROLLBACK":
        raise DatabaseError(Code.INTERNAL, "rolled back: a statement of the transaction had failed")


def _outcome_is_known(exc: DatabaseError) -> bool:
    if exc.__cause__ is None or isinstance(exc.__cause__, asyncpg.InterfaceError):
        return True  # COMMIT was not sent
    # The server answered, and did not end the connection: the transaction is rolled back.
    return exc.sqlstate is not None and exc.code not in (Code.UNAVAILABLE, Code.UNKNOWN)


def is_conflict(exc: Exception) -> bool:
    """Whether a transaction was rolled back because of a concurrent one: it may be retried."""
    return isinstance(exc, DatabaseError) and exc.sqlstate in _SAFE_TO_REPEAT
