"""SQLSTATE → `Code`: how a database failure becomes an `Error` that clients may see.

Exact states come first, then the two-character classes of the SQL standard; a test proves that
every state the driver knows is covered. The message is a fixed text per code, because the server's
own text quotes data ("Key (email)=(…) already exists"); the server's error is the ``__cause__``,
for the log. A repository distinguishes failures by state and constraint, on `DatabaseError`.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import asyncpg

from paceline.errors import Code, Error

STATES: Final[Mapping[str, Code]] = {
    "08007": Code.UNKNOWN,  # transaction resolution unknown
    "22003": Code.OUT_OF_RANGE,
    "23502": Code.INVALID_ARGUMENT,  # not null
    "23505": Code.ALREADY_EXISTS,
    "23514": Code.INVALID_ARGUMENT,  # check
    "23P01": Code.ALREADY_EXISTS,  # exclusion: another row is in the way
    "25006": Code.UNAVAILABLE,  # a write on what has just become a standby
    "25P03": Code.UNAVAILABLE,  # the server ended an idle transaction, and the connection with it
    "25P04": Code.DEADLINE_EXCEEDED,  # transaction_timeout
    "40003": Code.UNKNOWN,  # statement completion unknown
    "55P03": Code.ABORTED,  # lock not available
    "57014": Code.DEADLINE_EXCEEDED,  # statement_timeout; a cancelled caller does not see it
    "XX001": Code.DATA_LOSS,
    "XX002": Code.DATA_LOSS,
}
CLASSES: Final[Mapping[str, Code]] = {
    "00": Code.INTERNAL,  # success, warning and no data are never raised
    "01": Code.INTERNAL,
    "02": Code.INTERNAL,
    "03": Code.INTERNAL,
    "08": Code.UNAVAILABLE,  # connection
    "09": Code.INTERNAL,
    "0A": Code.UNIMPLEMENTED,
    "0B": Code.INTERNAL,
    "0F": Code.INTERNAL,
    "0L": Code.INTERNAL,
    "0P": Code.INTERNAL,
    "0Z": Code.INTERNAL,
    "10": Code.INTERNAL,
    "20": Code.INTERNAL,
    "21": Code.INTERNAL,
    "22": Code.INVALID_ARGUMENT,  # data
    "23": Code.FAILED_PRECONDITION,  # integrity constraint
    "24": Code.INTERNAL,
    "25": Code.INTERNAL,
    "26": Code.INTERNAL,
    "27": Code.INTERNAL,
    "28": Code.UNAVAILABLE,  # the server refuses the service, not the service its caller
    "2B": Code.INTERNAL,
    "2D": Code.INTERNAL,
    "2F": Code.INTERNAL,
    "34": Code.INTERNAL,
    "38": Code.INTERNAL,
    "39": Code.INTERNAL,
    "3B": Code.INTERNAL,
    "3D": Code.UNAVAILABLE,  # no such database
    "3F": Code.INTERNAL,
    "40": Code.ABORTED,  # serialization failure, deadlock
    "42": Code.INTERNAL,  # our SQL or our grants are wrong
    "44": Code.INVALID_ARGUMENT,  # WITH CHECK OPTION
    "53": Code.UNAVAILABLE,  # disk full, out of memory, too many connections: not the caller's
    "54": Code.INVALID_ARGUMENT,  # a value too large for a row, an index or a statement
    "55": Code.FAILED_PRECONDITION,
    "57": Code.UNAVAILABLE,  # operator intervention: shutdown, restart, crash
    "58": Code.INTERNAL,
    "72": Code.ABORTED,  # snapshot too old
    "F0": Code.INTERNAL,
    "HV": Code.INTERNAL,
    "P0": Code.INTERNAL,  # raised by our own PL/pgSQL
    "XX": Code.INTERNAL,
}
MESSAGES: Final[Mapping[Code, str]] = {
    Code.UNKNOWN: "the outcome in the database is unknown",
    Code.INVALID_ARGUMENT: "the database refuses a value",
    Code.DEADLINE_EXCEEDED: "the database took too long",
    Code.ALREADY_EXISTS: "already exists",
    Code.RESOURCE_EXHAUSTED: "the database is out of resources",
    Code.FAILED_PRECONDITION: "not possible in the present state of the data",
    Code.ABORTED: "another change got in the way; try again",
    Code.OUT_OF_RANGE: "a number is out of range",
    Code.UNIMPLEMENTED: "the database does not support this",
    Code.INTERNAL: "database error",
    Code.UNAVAILABLE: "the database is not available",
    Code.DATA_LOSS: "the database reports damaged data",
}

READ_ONLY: Final = "25006"
_FATAL: Final = ("FATAL", "PANIC")
# Shutdown, crash, "cannot connect now", database dropped, idle session, idle in transaction,
# transaction_timeout: a pooler in between may report them as plain errors.
_SESSION_ENDED: Final = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"})

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)
"""Everything the driver raises for a statement, a connection or a connection attempt."""


class DatabaseError(Error):
    """A failure in the database, or on the way to it.

    ``sqlstate`` is None when the server did not report it; ``constraint`` names the violated
    constraint, for a repository that raises an error of its own for it.
    """

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        sqlstate: str | None = None,
        constraint: str | None = None,
    ) -> None:
        super().__init__(code, MESSAGES[code] if message is None else message)
        self.sqlstate = sqlstate
        self.constraint = constraint


class OutcomeUnknown(DatabaseError):
    """A COMMIT or a write was sent and its answer was not seen: it is stored, or it is not.

    ``UNKNOWN`` and not ``UNAVAILABLE``, which makes clients and proxies try again: what is not
    idempotent must be read back first. DEADLINE_EXCEEDED when the answer came too late.
    """

    kind: ClassVar[str] = "outcome-unknown"

    def __init__(
        self,
        message: str = "outcome unknown: the connection was lost during commit",
        *,
        code: Code = Code.UNKNOWN,
    ) -> None:
        super().__init__(code, message)


def was_sent(exc: BaseException) -> bool:
    """Whether a statement that failed so may have been executed."""
    if isinstance(exc, asyncpg.PostgresError):
        # The first is the driver's own: closed in the middle. The second is a crash, which may
        # come after the commit; any other that the server reports has rolled back.
        return isinstance(exc, asyncpg.ConnectionDoesNotExistError) or exc.sqlstate == "57P02"
    return isinstance(exc, OSError | asyncpg.InternalClientError)


def leaves_connection_usable(exc: BaseException) -> bool:
    """Whether the statement was answered completely, or never sent, and the session goes on."""
    if isinstance(exc, asyncpg.PostgresError):
        return not ends_session(exc)
    return isinstance(exc, Error) or _is_bad_argument(exc)


def ends_session(exc: asyncpg.PostgresError) -> bool:
    """Whether the server ends the session with this error; the end itself may arrive later."""
    severity = str(getattr(exc, "severity_en", None) or getattr(exc, "severity", None) or "")
    sqlstate = exc.sqlstate or ""
    return severity in _FATAL or sqlstate in _SESSION_ENDED or sqlstate.startswith("08")


def is_read_only(exc: BaseException) -> bool:
    """Whether the server took no write, since it is a standby or was made read-only."""
    return isinstance(exc, asyncpg.PostgresError) and exc.sqlstate == READ_ONLY


def translate(exc: BaseException) -> Error:
    """The `Error` to raise ``from`` what the driver raised; an `Error` is its own translation."""
    if isinstance(exc, Error):
        return exc
    if isinstance(exc, asyncpg.PostgresError):
        return DatabaseError(_code(exc), sqlstate=exc.sqlstate, constraint=exc.constraint_name)
    return DatabaseError(_client_code(exc))


def _code(exc: asyncpg.PostgresError) -> Code:
    if isinstance(exc, asyncpg.InvalidCachedStatementError):
        return Code.ABORTED  # the schema changed under a prepared statement: it is prepared again
    return code_of(exc.sqlstate or "")


def code_of(sqlstate: str) -> Code:
    """The code of a SQLSTATE; INTERNAL for an unknown class."""
    return STATES.get(sqlstate) or CLASSES.get(sqlstate[:2], Code.INTERNAL)


def _client_code(exc: BaseException) -> Code:
    if isinstance(exc, TimeoutError):
        return Code.DEADLINE_EXCEEDED
    if isinstance(exc, asyncpg.OutdatedSchemaCacheError):
        return Code.ABORTED
    if isinstance(exc, OSError | asyncpg.InternalClientError):
        return Code.UNAVAILABLE  # the latter: the server announced that it ends the session
    if _is_bad_argument(exc):
        return Code.INVALID_ARGUMENT
    return Code.INTERNAL


def _is_bad_argument(exc: BaseException) -> bool:
    # A value that its column's type cannot hold; the driver's class for it is not exported.
    return isinstance(exc, asyncpg.InterfaceError) and isinstance(exc, ValueError)
