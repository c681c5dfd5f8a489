"""Opening connections, waiting for a server that is starting up, and the reasons of a failure.

Invariant: an error's message names host, port and database and nothing else of the address, so
neither a password nor a user name reaches a screen or a log. A server that is starting up is waited
for; one that answers and refuses (wrong password, no such database) is an error at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from paceline.concurrency import remaining
from paceline.errors import Code
from paceline.postgres.errors import DRIVER_ERRORS, DatabaseError

T = TypeVar("T")

_TRANSIENT: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
)
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer in time"),
    (ConnectionRefusedError, "connection refused"),
    (FileNotFoundError, "no such socket"),
    (asyncpg.CannotConnectNowError, "it is starting up or shutting down"),
    (asyncpg.TooManyConnectionsError, "it has too many connections"),
    (asyncpg.InvalidAuthorizationSpecificationError, "it refuses the user name or the password"),
    (asyncpg.InvalidCatalogNameError, "there is no such database"),
    (asyncpg.PostgresConnectionError, "the connection was lost"),
)
_BAD_ADDRESS: Final = "the database address is not a PostgreSQL URL"
_NAMELESS: Final = "the database"
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5


async def connect(dsn: str, *, timeout: float = 10.0) -> asyncpg.Connection:  # noqa: ASYNC109 - a setting: how long to wait for the server
    """Open a connection outside any pool, without a command timeout.

    It raises the driver's own errors: for migrations, which show the server's text, position and
    hint. ``timeout`` is in seconds and includes waiting for a server that is starting up.

    Errors: ``DatabaseError(UNAVAILABLE)``; INVALID_ARGUMENT for an invalid address.
    *Resources*: the caller closes it.
    """
    return await wait_for_server(lambda: asyncpg.connect(dsn), dsn, timeout)


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
    return f"cannot connect to {describe_dsn(dsn)}: {next(known, type(exc).__name__)}"


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
