"""golang-migrate's advisory lock: one migrator at a time, whichever tool it is.

Its key comes from schema, table and the database's name *as the tool was told it*: the path of
the URL ("/records") at its command line, the bare name ("records") in a Go service that hands
over its own connection. We hold both, always in the same order, so we exclude both.
We ask again and again instead of waiting inside ``pg_advisory_lock``: a session that waits there
holds a snapshot, for which ``CREATE INDEX CONCURRENTLY`` in the migrator that has the lock would
wait in turn, and PostgreSQL would end one of them as a deadlock.
The lock lives in the session, so it goes when a migrator is killed. Used by ``apply``.
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

    Errors: `LockTimeout` after ``seconds``, which says who has the lock.

    Resources: the locks, in the connection's session. Whatever ends the block, they are released;
    when the session is broken they are gone with it.
    """
    held: list[int] = []
    give_up = asyncio.get_running_loop().time() + seconds
    try:
        for key in keys:
            held.append(key)  # before asking: a cancelled question may have been granted
            if not await _take(connection, key, give_up):
                held.pop()
                await _raise_timeout(connection, keys, seconds)
        yield
    except BaseException:
        # What went wrong in the block is what the caller must see, not that it broke the session.
        with suppress(Exception):
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await _release(connection, held)
        raise
    await _release(connection, held)


async def _take(connection: MigrationConnection, key: int, give_up: float) -> bool:
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):
        left = give_up - loop.time()
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
