"""Opening connections, waiting for a server that is starting up, and the reasons of a failure.

Invariant: an error's message names host, port and database and nothing else of the address, so
neither a password nor a user name reaches a screen or a log. A server that is starting up is waited
for; one that answers and refuses (wrong password, no such database) is an error at once.

A pooler that shares sessions (PgBouncer in transaction mode) shows by its process id, which is not
that of the session behind it; then statements have no names, for a name belongs to a session.
Rejected: a setting that everybody behind a pooler has to know of.

Of several servers the first that is as it should be is taken, each with a time of its own: the
driver's own search has one for all, so a host that drops packets would leave none for the others.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from paceline.concurrency import remaining
from paceline.errors import Code
from paceline.postgres.address import DatabaseAddress, parse_address
from paceline.postgres.errors import DRIVER_ERRORS, DatabaseError

T = TypeVar("T")

_TRANSIENT: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
    asyncpg.TargetServerAttributeNotMatched,
)
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer in time"),
    (ConnectionRefusedError, "connection refused"),
    (FileNotFoundError, "no such socket"),
    (asyncpg.CannotConnectNowError, "it is starting up or shutting down"),
    (asyncpg.TooManyConnectionsError, "it has too many connections"),
    (asyncpg.InvalidPasswordError, "the password or the user name is wrong"),
    (asyncpg.InvalidAuthorizationSpecificationError, "it refuses this user from this address"),
    (asyncpg.InvalidCatalogNameError, "there is no such database"),
    (asyncpg.PostgresConnectionError, "the connection was lost"),
    (asyncpg.TargetServerAttributeNotMatched, "no server there is as target_session_attrs says"),
)
_READ_ONLY: Final = "no server there takes writes"
_BAD_ADDRESS: Final = "the database address is not a PostgreSQL URL"
_SEVERAL_TIMEOUT: Final = 2.0
_DRIVER_TIMEOUT: Final = 60.0
_DEFAULT_PORT: Final = 5432
_NAMELESS: Final = "the database"
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5


class Connector:
    """Opens connections to the database of ``dsn``, whichever of its servers is the right one.

    Without ``target_session_attrs`` a single server may be any, and of several one must take
    writes. ``application_name``: as the server shows it, unless the address says another.

    ``shares_sessions``: whether a pooler is before it, which the address may say (``pgbouncer=``),
    and the first connection finds out; None before.

    Errors: ``DatabaseError(INVALID_ARGUMENT)`` for an invalid address.
    """

    def __init__(self, dsn: str, *, application_name: str | None = None) -> None:
        try:
            self.address: DatabaseAddress = parse_address(dsn)
        except ValueError as exc:
            raise DatabaseError(Code.INVALID_ARGUMENT, str(exc)) from None
        self.dsn = dsn
        self._settings = dict(self.address.server_settings)
        if application_name:
            self._settings.setdefault("application_name", application_name)
        self._last = 0
        self.shares_sessions: bool | None = self.address.shares_sessions

    async def open(
        self,
        *,
        target: str | None = None,
        command_timeout: float | None = None,
        statement_cache_size: int = 100,
    ) -> asyncpg.Connection:
        """A connection; ``target`` replaces the address's. Errors: the driver's.

        *Resources*: the caller closes it.
        """
        if self.shares_sessions is None:
            connection = await self._open(target, command_timeout, 0)
            try:
                self.shares_sessions = await is_pooled(connection)
                if self.shares_sessions:
                    return connection
                await connection.close()
            except BaseException:
                connection.terminate()
                raise
        names = 0 if self.shares_sessions else statement_cache_size
        return await self._open(target, command_timeout, names)

    async def _open(
        self, target: str | None, command_timeout: float | None, statement_cache_size: int
    ) -> asyncpg.Connection:
        address = self.address
        target = target or address.target or ("read-write" if address.hosts else "any")
        hosts = address.hosts or (None,)
        seconds = address.connect_timeout or (
            _SEVERAL_TIMEOUT if address.hosts else _DRIVER_TIMEOUT
        )
        failure: Exception | None = None
        # Of several, prefer-standby is a standby if there is one, and otherwise any.
        for each in ("standby", "any") if target == "prefer-standby" else (target,):
            for number in [(self._last + offset) % len(hosts) for offset in range(len(hosts))]:
                name, port = hosts[number] or (None, None)
                try:
                    connection = await asyncpg.connect(
                        address.dsn,
                        host=name,
                        port=_DEFAULT_PORT if name and port is None else port,
                        target_session_attrs=SessionAttribute(each),
                        timeout=seconds,
                        server_settings=self._settings or None,
                        command_timeout=command_timeout,
                        statement_cache_size=statement_cache_size,
                    )
                except _TRANSIENT as exc:
                    if not isinstance(failure, asyncpg.TargetServerAttributeNotMatched):
                        failure = exc
                else:
                    self._last = number
                    return connection
        raise failure or ConnectionError


async def is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether a pooler is between, by which the session may be another's after each transaction."""
    async with connection.transaction():
        statement = await connection.prepare("SELECT pg_catalog.pg_backend_pid()", name="")
        process: int = await statement.fetchval()
    return process != connection.get_server_pid()


async def connect(dsn: str, *, timeout: float = 10.0) -> asyncpg.Connection:  # noqa: ASYNC109 - a setting: how long to wait for the server
    """Open a connection outside any pool, without a command timeout.

    It raises the driver's own errors: for migrations, which show the server's text, position and
    hint. ``timeout`` is in seconds and includes waiting for a server that is starting up.

    Errors: ``DatabaseError(UNAVAILABLE)``; INVALID_ARGUMENT for an invalid address.
    *Resources*: the caller closes it.
    """
    connector = Connector(dsn)
    return await wait_for_server(connector.open, dsn, timeout)


async def wait_for_server(attempt: Callable[[], Awaitable[T]], dsn: str, seconds: float) -> T:
    """Repeat ``attempt`` until it succeeds or the server refuses, for ``seconds`` at most.

    Less under an ambient deadline. Errors: as `connect`.
    """
    time = asyncio.get_running_loop().time
    left = remaining()
    until = time() + (seconds if left is None else min(seconds, left))
    pause = _FIRST_PAUSE
    while True:
        try:
            async with asyncio.timeout_at(until):
                return await attempt()
        except ValueError:
            # Not chained: the driver's text may quote the address.
            raise DatabaseError(Code.INVALID_ARGUMENT, _BAD_ADDRESS) from None
        except DRIVER_ERRORS as exc:
            if not isinstance(exc, _TRANSIENT) or time() + pause >= until:
                raise DatabaseError(Code.UNAVAILABLE, _unreachable(dsn, exc)) from exc
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _unreachable(dsn: str, exc: Exception) -> str:
    known = (text for kind, text in _REASONS if isinstance(exc, kind))
    reason = _refused_parameter(dsn, exc) or next(known, type(exc).__name__)
    if isinstance(exc, asyncpg.TargetServerAttributeNotMatched):
        reason = _READ_ONLY if parse_address(dsn).expects_writable else reason
    return f"cannot connect to {describe_dsn(dsn)}: {reason}"


def _refused_parameter(dsn: str, exc: Exception) -> str | None:
    """Which parameter of the URL the server does not know, or whose value it does not take."""
    if not isinstance(exc, asyncpg.PostgresError):
        return None
    text = str(exc)
    for name, _ in parse_address(dsn).server_settings:
        if re.search(rf"\b{re.escape(name)}\b", text):
            return f"it does not take the parameter {name} of the database URL"
    return None


def describe_dsn(dsn: str) -> str:
    """Host, port and database of an address, for messages: "database app on db.internal:5432".

    What the address leaves to the environment (PGHOST, PGDATABASE) is left out.
    """
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return _NAMELESS
    if "@" in parts.path + parts.query + parts.fragment:
        return _NAMELESS  # a password with an unescaped "/", "?" or "#": where it ends is not known
    query = parse_qs(parts.query)
    host = (query.get("host") or [unquote(parts.netloc.rpartition("@")[2])])[-1]
    port = (query.get("port") or [""])[-1]
    database = (query.get("dbname") or query.get("database") or [unquote(parts.path[1:])])[-1]
    name = f"database {database}" if database else _NAMELESS
    return f"{name} on {host}{port and ':' + port}" if host else name
