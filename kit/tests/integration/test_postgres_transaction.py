"""Transactions on a real server: commit, rollback, retries after conflicts, unknown outcomes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import LiteralString

import pytest
from pg_sessions import started

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error
from paceline.postgres import (
    Connection,
    DatabaseError,
    IsolationLevel,
    OutcomeUnknown,
    Pool,
    PoolSettings,
)
from paceline.testing import monitor_sessions

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with started(Pool(database, PoolSettings(max_size=4, min_size=0))) as pool:
        await pool.execute("CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL DEFAULT 0)")
        await pool.execute("INSERT INTO t VALUES (1), (2)")
        yield pool


async def test_a_block_is_committed_at_its_end(pool: Pool) -> None:
    async with pool.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (3)")
        assert await pool.fetchval("SELECT count(*) FROM t") == 2
    assert await pool.fetchval("SELECT count(*) FROM t") == 3


async def test_any_exception_rolls_back(pool: Pool) -> None:
    with pytest.raises(KeyError):
        async with pool.transaction() as tx:
            await tx.execute("DELETE FROM t")
            raise KeyError("x")
    with pytest.raises(DatabaseError):
        async with pool.transaction() as tx:
            await tx.execute("DELETE FROM t")
            await tx.execute("INSERT INTO t SELECT 5, NULL")
    assert await pool.fetchval("SELECT count(*) FROM t") == 2
    assert (pool.size, pool.in_use) == (1, 0)


async def test_a_failed_statement_caught_inside_the_block_is_an_error_at_its_end(
    pool: Pool,
) -> None:
    with pytest.raises(DatabaseError, match="a statement of the transaction had failed") as caught:
        async with pool.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (3)")
            with suppress(DatabaseError):
                await tx.execute("INSERT INTO t VALUES (3)")
    assert caught.value.code is Code.INTERNAL
    assert await pool.fetchval("SELECT count(*) FROM t") == 2


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_the_isolation_level_is_the_one_requested(
    pool: Pool, isolation: IsolationLevel
) -> None:
    async with pool.transaction(isolation=isolation, read_only=True) as tx:
        shown = await tx.fetchval("SHOW transaction_isolation")
        assert shown == isolation.replace("_", " ")
        assert await tx.fetchval("SHOW transaction_read_only") == "on"


async def increment_both(pool: Pool, attempts: int) -> list[int]:
    """Two transactions that conflict for certain: each reads, waits for the other, and writes."""
    runs = [0, 0]
    both_read = asyncio.Barrier(2)

    async def bump(which: int) -> None:
        async def work(tx: Connection) -> None:
            n = await tx.fetchval("SELECT n FROM t WHERE id = 1")
            runs[which] += 1
            if runs[which] == 1:
                await both_read.wait()
            await tx.execute("UPDATE t SET n = $1 WHERE id = 1", n + 1)

        await pool.transact(work, isolation="serializable", attempts=attempts)

    await asyncio.gather(bump(0), bump(1))
    return runs


async def test_a_serialization_failure_is_retried(pool: Pool) -> None:
    assert sorted(await increment_both(pool, attempts=3)) == [1, 2]
    assert await pool.fetchval("SELECT n FROM t WHERE id = 1") == 2


async def test_attempts_are_limited(pool: Pool) -> None:
    with pytest.raises(DatabaseError) as caught:
        await increment_both(pool, attempts=1)
    assert (caught.value.code, caught.value.sqlstate) == (Code.ABORTED, "40001")


async def test_a_deadlock_is_retried(pool: Pool) -> None:
    both_locked = asyncio.Barrier(2)
    runs = 0

    async def transfer(source: int, target: int) -> None:
        first = True

        async def work(tx: Connection) -> None:
            nonlocal first, runs
            runs += 1
            await tx.execute("SET LOCAL deadlock_timeout = '10ms'")
            await tx.execute("UPDATE t SET n = n - 1 WHERE id = $1", source)
            if first:
                first = False
                await both_locked.wait()
            await tx.execute("UPDATE t SET n = n + 1 WHERE id = $1", target)

        await pool.transact(work)

    await asyncio.gather(transfer(1, 2), transfer(2, 1))
    assert runs == 3
    assert [row["n"] for row in await pool.fetch("SELECT n FROM t")] == [0, 0]


async def test_other_errors_are_not_retried_and_results_are_returned(pool: Pool) -> None:
    runs = 0

    async def work(tx: Connection) -> int:
        nonlocal runs
        runs += 1
        await tx.execute("INSERT INTO t VALUES (1)")
        return 1

    with pytest.raises(DatabaseError):
        await pool.transact(work)
    assert runs == 1

    async def count(tx: Connection) -> object:
        return await tx.fetchval("SELECT count(*) FROM t")

    assert await pool.transact(count) == 2


async def test_a_deadline_that_expires_inside_the_block_commits_nothing(database: str) -> None:
    async with started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool:
        await pool.execute("CREATE TABLE t (id bigint)")
        late = asyncio.Event()

        async def work() -> None:
            async with pool.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (1)")
                await late.wait()

        # A child inherits the deadline; nobody cancels it when that strikes.
        async with fail_after(0.1, "request"):
            child = asyncio.create_task(work())
        asyncio.get_running_loop().call_later(0.15, late.set)
        with pytest.raises(DatabaseError) as caught:
            await child
        assert type(caught.value) is DatabaseError
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert await pool.fetchval("SELECT count(*) FROM t") == 0


async def test_retries_end_with_the_deadline(pool: Pool) -> None:
    async def conflict(tx: Connection) -> None:
        await tx.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    with pytest.raises(Error) as caught:
        async with fail_after(0.1, "request"):
            await pool.transact(conflict, attempts=1_000_000)
    assert caught.value.code in (Code.ABORTED, Code.DEADLINE_EXCEEDED)


async def at_commit(pool: Pool, statement: LiteralString) -> None:
    """Make the server run ``statement`` in the middle of the next COMMIT."""
    async with pool.connection() as connection:
        await connection.execute(
            "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statement}; RETURN NULL; END $$"
        )
        await connection.execute(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION at_commit()"
        )


async def test_a_connection_lost_during_commit_is_an_unknown_outcome_and_not_retried(
    pool: Pool,
) -> None:
    await at_commit(pool, "PERFORM pg_terminate_backend(pg_backend_pid())")
    runs = 0

    async def work(tx: Connection) -> None:
        nonlocal runs
        runs += 1
        await tx.execute("INSERT INTO t VALUES (3)")

    with pytest.raises(OutcomeUnknown, match="outcome unknown") as caught:
        await pool.transact(work)
    assert (caught.value.code, runs) == (Code.UNKNOWN, 1)
    assert await pool.fetchval("SELECT count(*) FROM t") == 2


async def test_a_commit_that_takes_too_long_is_an_unknown_outcome_too(
    database: str, pool: Pool
) -> None:
    await at_commit(pool, "PERFORM pg_sleep(600)")
    async with started(Pool(database, PoolSettings(command_timeout=0.05, min_size=0))) as hasty:
        with pytest.raises(OutcomeUnknown):
            async with hasty.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (3)")
    async with monitor_sessions(database) as monitor:
        await monitor.wait_until(monitor.busy, 0)


async def test_a_commit_that_the_server_refuses_is_known_not_to_have_happened(pool: Pool) -> None:
    await at_commit(pool, "RAISE unique_violation")
    with pytest.raises(DatabaseError) as caught:
        async with pool.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (3)")
    assert caught.value.code is Code.ALREADY_EXISTS
    assert (pool.size, pool.in_use) == (1, 0)


async def test_a_connection_lost_before_commit_is_a_known_outcome(
    database: str, pool: Pool
) -> None:
    async with monitor_sessions(database) as monitor:
        with pytest.raises(DatabaseError) as caught:
            async with pool.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (3)")
                await monitor.terminate_all()
                await monitor.wait_until(monitor.connections, 0)
                with suppress(DatabaseError):  # it may not have heard of its end before this
                    await tx.fetchval("SELECT 1")
    assert type(caught.value) is DatabaseError
    assert caught.value.code is Code.UNAVAILABLE
    assert await pool.fetchval("SELECT count(*) FROM t") == 2
