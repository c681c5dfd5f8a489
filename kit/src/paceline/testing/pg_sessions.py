"""The sessions of a database as ``pg_stat_activity`` shows them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from paceline.postgres import connect

_OTHERS: Final = """
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
"""


class SessionMonitor:
    """Queries one database's sessions, on a connection that is not counted."""

    def __init__(self, fetchval: Callable[[str], Awaitable[object]]) -> None:
        self._fetchval = fetchval

    async def connections(self) -> object:
        """How many sessions are open."""
        return await self._fetchval(f"SELECT count(*) {_OTHERS}")

    async def busy(self) -> object:
        """How many sessions run a statement or have a transaction open."""
        return await self._fetchval(f"SELECT count(*) {_OTHERS} AND state <> 'idle'")

    async def value(self, statement: str) -> object:
        """The first column of the first row of ``statement``."""
        return await self._fetchval(statement)

    async def deadlocks(self) -> object:
        """How many deadlocks the server has ended."""
        return await self._fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )

    async def terminate_all(self) -> None:
        """End every session, as an administrator does."""
        await self._fetchval(f"SELECT count(pg_terminate_backend(pid)) {_OTHERS}")

    async def wait_until(self, query: Callable[[], Awaitable[object]], expected: object) -> None:
        """Wait until ``query`` gives ``expected``."""
        async with asyncio.timeout(10):
            while await query() != expected:  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(0.002)


@asynccontextmanager
async def monitor_sessions(dsn: str) -> AsyncGenerator[SessionMonitor]:
    """A `SessionMonitor` on the database of ``dsn``."""
    connection = await connect(dsn)
    try:
        yield SessionMonitor(connection.fetchval)
    finally:
        await connection.close()
