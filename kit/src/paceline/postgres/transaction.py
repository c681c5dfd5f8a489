"""Transactions: all or nothing, with an honest answer when nobody knows which.

`begun` runs a block between BEGIN and COMMIT on a connection that is checked out already. What
leaves the block rolls back; a cancellation does so by the pool closing the connection, so that
unwinding waits for nothing. A connection lost during COMMIT is `OutcomeUnknown`; and a COMMIT that
the server turned into a ROLLBACK, because a failed statement's error was caught inside the block,
is an error and not a silent loss. Used by ``pool``, which runs a whole transaction again after what
`is_conflict` knows.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal, LiteralString

import asyncpg

from paceline.concurrency import remaining, timeout_message
from paceline.errors import Code
from paceline.postgres.connection import Connection
from paceline.postgres.errors import DatabaseError, OutcomeUnknown

Isolation = Literal["read_committed", "repeatable_read", "serializable"]

_LEVELS: Final[Mapping[Isolation, LiteralString]] = {
    "read_committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "repeatable_read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}
_SAFE_TO_REPEAT: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_ROLLBACK_TIMEOUT: Final = 2.0


@asynccontextmanager
async def begun(
    connection: Connection, isolation: Isolation, *, read_only: bool
) -> AsyncGenerator[Connection]:
    """Run the block in a transaction; see ``Pool.transaction``."""
    begin = _LEVELS[isolation]
    await connection.control(f"{begin} READ ONLY" if read_only else begin)
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
        connection.interrupted = True  # not raised: the error that leads here is the one to tell


async def _commit(connection: Connection) -> None:
    if remaining() == 0:
        await _roll_back(connection)
        raise DatabaseError(Code.DEADLINE_EXCEEDED, timeout_message("a transaction"))
    try:
        tag = await connection.control("COMMIT")
    except DatabaseError as exc:
        if exc.sqlstate is None:
            connection.interrupted = True  # the server did not say that the transaction is over
        if _outcome_is_known(exc):
            raise
        raise OutcomeUnknown from exc
    if tag == "ROLLBACK":
        raise DatabaseError(Code.INTERNAL, "rolled back: a statement of the transaction had failed")


def _outcome_is_known(exc: DatabaseError) -> bool:
    if exc.__cause__ is None or isinstance(exc.__cause__, asyncpg.InterfaceError):
        return True  # COMMIT was not sent
    # The server answered, and not by saying goodbye: the transaction is rolled back.
    return exc.sqlstate is not None and exc.code not in (Code.UNAVAILABLE, Code.UNKNOWN)


def is_conflict(exc: Exception) -> bool:
    """Whether a transaction ran into another one: nothing happened, and it may be run again."""
    return isinstance(exc, DatabaseError) and exc.sqlstate in _SAFE_TO_REPEAT
