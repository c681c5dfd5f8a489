"""A write that the server has executed and whose reply does not come: its outcome is unknown."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from pg_sessions import started

from paceline.coalesce import WriteCoalescer
from paceline.concurrency import DeadlineExceeded, fail_after
from paceline.errors import Code
from paceline.postgres import DatabaseError, OutcomeUnknown, Pool, PoolSettings
from paceline.testing import FlowDirection, StallingProxy, monitor_sessions, stalling_proxy

pytestmark = pytest.mark.integration


@asynccontextmanager
async def behind_proxy(
    dsn: str, *, command_timeout: float = 30.0
) -> AsyncGenerator[tuple[Pool, StallingProxy]]:
    """A pool of one connection, on which the statements of these tests are prepared."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
    async with stalling_proxy(lambda: asyncio.open_unix_connection(socket)) as proxy:
        settings = PoolSettings(max_size=1, command_timeout=command_timeout)
        url = f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}"
        async with started(Pool(url, settings)) as pool:
            await pool.execute("CREATE TABLE things (n int)")
            await pool.execute("INSERT INTO things VALUES ($1)", 0)
            await pool.fetchval("SELECT count(*) FROM things WHERE n >= $1", 0)
            yield pool, proxy


async def lose_reply(
    dsn: str, proxy: StallingProxy, call: Callable[[], Awaitable[object]], *, rows: int
) -> DatabaseError:
    """Silence the way back, call, wait until the server has so many rows, and break the line."""
    proxy.stall(FlowDirection.TO_CLIENT, 0)
    calling = asyncio.ensure_future(call())
    async with monitor_sessions(dsn) as monitor:

        async def stored() -> object:
            return await monitor.value("SELECT count(*) FROM things")

        await monitor.wait_until(stored, rows)
        await monitor.wait_until(monitor.busy, 0)
    await proxy.stop()
    with pytest.raises(DatabaseError) as caught:
        await calling
    return caught.value


async def test_an_executed_write_whose_reply_was_lost_has_an_unknown_outcome(
    database: str,
) -> None:
    async with behind_proxy(database) as (pool, proxy):
        error = await lose_reply(
            database, proxy, lambda: pool.execute("INSERT INTO things VALUES ($1)", 1), rows=2
        )
    assert isinstance(error, OutcomeUnknown)
    assert (error.code, error.kind) == (Code.UNKNOWN, "outcome-unknown")


async def test_so_has_one_that_returns_rows(database: str) -> None:
    returning = "WITH made AS (INSERT INTO things VALUES ($1) RETURNING n) SELECT n FROM made"
    async with behind_proxy(database) as (pool, proxy):
        assert await pool.fetchval(returning, 1) == 1
        error = await lose_reply(database, proxy, lambda: pool.fetch(returning, 2), rows=3)
    assert isinstance(error, OutcomeUnknown)


async def test_every_caller_of_a_coalesced_write_is_told(database: str) -> None:
    async with behind_proxy(database) as (pool, proxy):

        async def apply(numbers: Sequence[int]) -> Sequence[int]:
            await pool.execute("INSERT INTO things SELECT * FROM unnest($1::int[])", [*numbers])
            return numbers

        writes = WriteCoalescer(apply, name="inserting things")
        await writes.call(1)
        told: list[object] = []

        async def both() -> None:
            told.extend(
                await asyncio.gather(writes.call(2), writes.call(3), return_exceptions=True)
            )
            raise DatabaseError(Code.UNKNOWN)

        await lose_reply(database, proxy, both, rows=4)
        await writes.stop()
    assert [type(each) for each in told] == [OutcomeUnknown, OutcomeUnknown]


async def test_a_write_whose_reply_comes_too_late_has_an_unknown_outcome(database: str) -> None:
    async with behind_proxy(database, command_timeout=0.3) as (pool, proxy):
        proxy.stall(FlowDirection.TO_CLIENT, 0)
        with pytest.raises(OutcomeUnknown, match="the database took too long") as caught:
            await pool.execute("INSERT INTO things VALUES ($1)", 1)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_a_write_that_its_deadline_interrupts_has_an_unknown_outcome(database: str) -> None:
    async with behind_proxy(database) as (pool, proxy):
        proxy.stall(FlowDirection.TO_CLIENT, 0)
        with pytest.raises(OutcomeUnknown, match=r"exceeded the 0\.2s limit of request") as caught:
            async with fail_after(0.2, "request"):
                await pool.execute("INSERT INTO things VALUES ($1)", 1)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_a_commit_that_its_deadline_interrupts_has_an_unknown_outcome(database: str) -> None:
    async with behind_proxy(database) as (pool, proxy):
        with pytest.raises(OutcomeUnknown, match=r"exceeded the 0\.5s limit of request") as caught:
            async with fail_after(0.5, "request"), pool.transaction() as tx:
                await tx.execute("INSERT INTO things VALUES ($1)", 1)
                proxy.stall(FlowDirection.TO_CLIENT, 0)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_a_read_that_its_deadline_interrupts_has_expired(database: str) -> None:
    async with behind_proxy(database) as (pool, proxy):
        proxy.stall(FlowDirection.TO_CLIENT, 0)
        with pytest.raises(DeadlineExceeded, match=r"a database query exceeded the 0\.2s limit"):
            async with fail_after(0.2, "request"):
                await pool.fetchval("SELECT count(*) FROM things")


async def test_a_read_whose_reply_was_lost_is_unavailable(database: str) -> None:
    async with behind_proxy(database) as (pool, proxy):
        error = await lose_reply(
            database,
            proxy,
            lambda: pool.fetchval("SELECT count(*) FROM things WHERE n >= $1", 0),
            rows=1,
        )
    assert (type(error), error.code) == (DatabaseError, Code.UNAVAILABLE)


async def test_a_write_in_a_transaction_that_was_not_committed_is_unavailable(
    database: str,
) -> None:
    async with behind_proxy(database) as (pool, proxy):
        with pytest.raises(DatabaseError) as caught:
            async with pool.transaction() as tx:
                proxy.stall(FlowDirection.TO_CLIENT, 0)
                writing = asyncio.ensure_future(tx.execute("INSERT INTO things VALUES ($1)", 1))
                async with monitor_sessions(database) as monitor:
                    inserted = (
                        "SELECT count(*) FROM pg_stat_activity"
                        " WHERE state = 'idle in transaction' AND query LIKE 'INSERT%'"
                    )

                    async def executed() -> object:
                        return await monitor.value(inserted)

                    await monitor.wait_until(executed, 1)
                await proxy.stop()
                await writing
    assert (type(caught.value), caught.value.code) == (DatabaseError, Code.UNAVAILABLE)
