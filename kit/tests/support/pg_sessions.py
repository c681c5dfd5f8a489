"""What the server itself says about a pool's connections, seen from a connection of one's own.

Used by the integration tests of ``paceline.postgres``.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from paceline.postgres import Pool, connect

_OTHERS: Final = """
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class Watch:
    """Asks ``pg_stat_activity`` of one database, and waits for it to say what a test expects."""

    def __init__(self, fetchval: Callable[[str], Awaitable[object]]) -> None:
        self._fetchval = fetchval

    async def connections(self) -> object:
        """How many sessions there are."""
        return await self._fetchval(f"SELECT count(*) {_OTHERS}")

    async def busy(self) -> object:
        """How many sessions run a statement or have a transaction open."""
        return await self._fetchval(f"SELECT count(*) {_OTHERS} AND state <> 'idle'")

    async def count(self, question: str) -> object:
        """What a statement of the test's own says."""
        return await self._fetchval(question)

    async def deadlocks(self) -> object:
        """How many times the server has ended a transaction because of one."""
        return await self._fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )

    async def terminate_all(self) -> None:
        """End every session, as an administrator does."""
        await self._fetchval(f"SELECT count(pg_terminate_backend(pid)) {_OTHERS}")

    async def becomes(self, question: Callable[[], Awaitable[object]], answer: object) -> None:
        """Wait until ``question`` has that answer."""
        async with asyncio.timeout(10):
            while await question() != answer:  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(0.002)


@asynccontextmanager
async def watching(dsn: str) -> AsyncGenerator[Watch]:
    """A `Watch` on the database of ``dsn``."""
    connection = await connect(dsn)
    try:
        yield Watch(connection.fetchval)
    finally:
        await connection.close()


@asynccontextmanager
async def started(pool: Pool) -> AsyncGenerator[Pool]:
    """A pool that runs during the block."""
    try:
        await pool.start()
        yield pool
    finally:
        await pool.stop()


def size_of(pool: Pool) -> Callable[[], Awaitable[int]]:
    """A question for `Watch.becomes`."""

    async def size() -> int:
        return pool.size

    return size
