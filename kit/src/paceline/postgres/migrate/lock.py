"""golang-migrate's advisory lock: one migrator at a time, whichever tool it is.

Its key is made of schema, table and the database's name *as that tool was given it*: the path of
the URL ("/records") at its command line, the bare name ("records") in a Go service that passes its
own connection. Both keys are taken, always in the same order, so both are excluded. The lock is
polled: a session that waits inside ``pg_advisory_lock`` holds a snapshot, for which ``CREATE INDEX
CONCURRENTLY`` in the migrator that has the lock would wait in turn, and PostgreSQL would end one of
them as a deadlock. The lock belongs to the session, so it ends when a migrator is killed.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

from paceline.postgres.migrate.connection import MigrationConnection
from paceline.postgres.migrate.errors import LockTimeout

_SALT = 1486364155
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.25
_RELEASE_TIMEOUT = 5.0
"""Seconds to wait for the release when the work has failed: the session may be gone."""

_HOLDERS = """
SELECT string_agg(
    format('pid %s (%s)', pid, concat_ws(', ',
        'user ' || usename,
        'application ' || nullif(application_name, ''),
        'client ' || coalesce(host(client_addr), 'on this machine'),
        'since ' || to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || 'Z',
        state)), ' and ' ORDER BY pid)
FROM (SELECT DISTINCT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid = 0 AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND objid::bigint = ANY ($1::bigint[])) AS holders
JOIN pg_stat_activity USING (pid)
"""


def lock_key(schema: str, table: str, database: str) -> int:
    """The advisory lock's key, as golang-migrate's ``GenerateAdvisoryLockId`` makes it."""
    checksum = zlib.crc32(f"{schema}\0{table}\0{database}".encode())
    return checksum * _SALT & 0xFFFF_FFFF


def lock_keys(schema: str, table: str, database: str) -> tuple[int, int]:
    """The keys of golang-migrate's command line and of its library, in the order to take them."""
    return lock_key(schema, table, f"/{database}"), lock_key(schema, table, database)


@asynccontextmanager
async def migration_lock(
    connection: MigrationConnection, keys: Sequence[int], seconds: float
) -> AsyncGenerator[None, None]:
    """Hold every key for the block; a transaction that the block leaves open is rolled back.

    Errors: `LockTimeout` after ``seconds``, which names the sessions that hold the lock.

    *Resources*: the locks, in the connection's session. However the block ends, they are released,
    or end with a broken session.
    """
    held: list[int] = []
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        for key in keys:
            held.append(key)  # before the query: one that is cancelled may have taken the lock
            if not await _acquire(connection, key, deadline):
                held.pop()
                await _raise_timeout(connection, keys, seconds)
        yield
    except BaseException:
        # The block's own error is what the caller needs, not that the session is broken.
        with suppress(Exception):
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await _release(connection, held)
        raise
    await _release(connection, held)


async def _acquire(connection: MigrationConnection, key: int, deadline: float) -> bool:
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):
        left = deadline - loop.time()
        if left <= 0:
            return False
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True


async def _release(connection: MigrationConnection, keys: Sequence[int]) -> None:
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
    for key in reversed(keys):
        await connection.fetchval("SELECT pg_advisory_unlock($1)", key)


async def _raise_timeout(
    connection: MigrationConnection, keys: Sequence[int], seconds: float
) -> NoReturn:
    held_by: str | None = await connection.fetchval(_HOLDERS, list(keys))
    raise LockTimeout(seconds, f"{held_by} has it" if held_by else "another session had it")
