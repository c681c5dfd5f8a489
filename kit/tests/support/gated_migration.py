"""A migration that waits for an advisory lock, so that a test decides when it goes on."""

import asyncio

import asyncpg

GATE = 4711
WAIT_AT_GATE = f"SELECT pg_advisory_xact_lock({GATE});"
"""What such a migration's file begins with."""

AT_GATE = (
    f"EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted)"
)
"""A condition for `until`: a migration waits."""


async def close_gate(session: asyncpg.Connection) -> None:
    """Make migrations wait, until `open_gate` on the same session or its end."""
    await session.execute(f"SELECT pg_advisory_lock({GATE})")


async def open_gate(session: asyncpg.Connection) -> None:
    """Let the waiting migration go on."""
    await session.execute(f"SELECT pg_advisory_unlock({GATE})")


async def until(observer: asyncpg.Connection, condition: str) -> None:
    """Wait until the SQL expression is true."""
    async with asyncio.timeout(20):
        while not await observer.fetchval(f"SELECT {condition}"):  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.01)
