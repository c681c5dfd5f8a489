"""Pools that run in a block, and what `paceline.testing.SessionMonitor` waits for of them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from paceline.postgres import Pool


@asynccontextmanager
async def started(pool: Pool) -> AsyncGenerator[Pool]:
    """A pool that runs during the block."""
    try:
        await pool.start()
        yield pool
    finally:
        await pool.stop()


def size_of(pool: Pool) -> Callable[[], Awaitable[int]]:
    """A query for `SessionMonitor.wait_until`."""

    async def size() -> int:
        return pool.size

    return size
