"""The pool on a real server: statements, sessions, lifetimes, exhaustion, stopping."""

import asyncio
from uuid import UUID

import pytest
from pg_sessions import size_of, started

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error
from paceline.postgres import Connection, DatabaseError, Pool, PoolSettings, connect
from paceline.testing import monitor_sessions

pytestmark = pytest.mark.integration


async def test_statements_return_rows_values_and_command_tags(database: str) -> None:
    async with started(Pool(database)) as pool:
        await pool.execute("CREATE TABLE t (id bigint PRIMARY KEY, name text)")
        assert await pool.execute("INSERT INTO t VALUES ($1, $2), (2, 'b')", 1, "a") == "INSERT 0 2"
        row = await pool.fetchrow("SELECT id, name FROM t WHERE id = $1", 1)
        assert row is not None
        assert (row["id"], row["name"]) == (1, "a")
        assert await pool.fetchrow("SELECT id FROM t WHERE id = 9") is None
        assert [row["name"] for row in await pool.fetch("SELECT name FROM t ORDER BY id")] == [
            "a",
            "b",
        ]
        assert await pool.fetchval("SELECT count(*) FROM t") == 2
        await pool.ping()


async def test_json_is_passed_through_as_text(database: str) -> None:
    async with started(Pool(database)) as pool:
        assert await pool.fetchval("SELECT $1::jsonb", '{"b": 1}') == '{"b": 1}'
        assert await pool.fetchval("SELECT $1::json", '{"b" :1}') == '{"b" :1}'
        assert isinstance(await pool.fetchval("SELECT gen_random_uuid()"), UUID)


async def test_an_error_of_a_statement_is_translated(database: str) -> None:
    async with started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool:
        await pool.execute("CREATE TABLE t (id bigint CONSTRAINT t_is_unique UNIQUE)")
        await pool.execute("INSERT INTO t VALUES (1)")
        async with pool.connection() as connection:
            with pytest.raises(DatabaseError) as caught:
                await connection.execute("INSERT INTO t VALUES ($1)", 1)
            assert await connection.fetchval("SELECT 1") == 1
        assert caught.value.code is Code.ALREADY_EXISTS
        assert (caught.value.sqlstate, caught.value.constraint) == ("23505", "t_is_unique")
        with pytest.raises(DatabaseError) as caught:
            await pool.execute("INSERT INTO t VALUES ($1)", 1)
        assert caught.value.constraint == "t_is_unique"


async def test_a_bad_argument_does_not_close_the_connection(database: str) -> None:
    async with started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        for bad in ("text", 2**70):
            with pytest.raises(DatabaseError) as caught:
                await pool.fetchval("SELECT $1::bigint", bad)
            assert caught.value.code is Code.INVALID_ARGUMENT
        with pytest.raises(DatabaseError):
            await pool.fetchval("SELECT 1 / 0")
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid


async def test_the_session_is_reset_after_a_block(database: str) -> None:
    async with started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        async with pool.connection() as connection:
            await connection.execute("BEGIN")
            await connection.execute("SET statement_timeout = '1h'")
            await connection.fetchval("SELECT pg_advisory_lock(1)")
        with pytest.raises(KeyError):
            async with pool.connection() as connection:
                await connection.execute("SET statement_timeout = '1h'")
                raise KeyError("x")
        await pool.execute("SET statement_timeout = '1h'")
        await pool.fetchval("SELECT pg_advisory_lock(2)")
        async with pool.transaction() as tx:
            await tx.execute("SET statement_timeout = '1h'")
        assert await pool.fetchval("SHOW statement_timeout") == "0"
        assert await pool.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid


async def test_a_connection_cannot_be_used_after_its_block(database: str) -> None:
    async with started(Pool(database)) as pool:
        async with pool.connection() as connection:
            pass
        with pytest.raises(RuntimeError, match="after the end of its block"):
            await connection.fetchval("SELECT 1")


async def test_concurrent_statements_on_one_connection_are_an_error(database: str) -> None:
    async with started(Pool(database)) as pool, monitor_sessions(database) as monitor:
        async with pool.connection() as connection, asyncio.TaskGroup() as group:
            slow = group.create_task(connection.fetchval("SELECT 7 FROM pg_sleep(0.1)"))
            await monitor.wait_until(monitor.busy, 1)
            with pytest.raises(DatabaseError) as caught:
                await connection.fetchval("SELECT 1")
        assert caught.value.code is Code.INTERNAL
        assert slow.result() == 7
        await monitor.wait_until(monitor.busy, 0)
        assert pool.in_use == 0


async def test_max_size_connections_serve_any_number_of_callers(database: str) -> None:
    async with started(Pool(database, PoolSettings(max_size=3, min_size=1))) as pool:

        async def work(number: int) -> int:
            value = await pool.fetchval("SELECT $1::int FROM pg_sleep(0.001)", number)
            assert isinstance(value, int)
            return value

        assert await asyncio.gather(*(work(number) for number in range(60))) == list(range(60))
        assert pool.size == 3
        assert pool.in_use == 0


async def test_an_exhausted_pool_raises_and_serves_in_order(database: str) -> None:
    async with started(
        Pool(database, PoolSettings(max_size=1, min_size=0, acquire_timeout=0.05))
    ) as pool:
        order: list[int] = []

        async def waiting(number: int) -> None:
            async with pool.connection():
                order.append(number)

        async with pool.connection():
            with pytest.raises(
                DatabaseError, match=r"no database connection became free within 0\.05s"
            ) as caught:
                await pool.ping()
            assert caught.value.code is Code.RESOURCE_EXHAUSTED
            with pytest.raises(
                DatabaseError, match="waiting for a database connection exceeded"
            ) as caught:
                await asyncio.create_task(_with_deadline_of_parent(pool, 0.01))
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            queue = [asyncio.create_task(waiting(number)) for number in range(4)]
            await asyncio.sleep(0)
        queue[1].cancel()
        await asyncio.wait(queue)
        assert order == [0, 2, 3]


async def _with_deadline_of_parent(pool: Pool, seconds: float) -> None:
    """A child task inherits the deadline, and is not cancelled when it expires."""
    async with fail_after(seconds, "parent"):
        child = asyncio.create_task(pool.ping())
    await child


async def test_a_connection_past_its_lifetime_is_replaced_at_its_release(database: str) -> None:
    async with (
        started(Pool(database, PoolSettings(max_size=1, min_size=0, max_lifetime=1e-9))) as pool,
        monitor_sessions(database) as monitor,
    ):
        pids = {await pool.fetchval("SELECT pg_backend_pid()") for _ in range(5)}
        assert len(pids) == 5
        await monitor.wait_until(monitor.connections, 0)
        await monitor.wait_until(size_of(pool), 0)


async def test_idle_connections_are_closed_down_to_min_size(database: str) -> None:
    pool = Pool(
        database, PoolSettings(max_size=10, min_size=2, max_idle=0.05, maintenance_interval=0.02)
    )
    async with started(pool), monitor_sessions(database) as monitor:
        assert pool.size == 2
        await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.02)") for _ in range(8)))
        assert pool.size > 2
        await monitor.wait_until(monitor.connections, 2)
        await monitor.terminate_all()

        async def answers() -> bool:
            try:  # until the goodbye of the terminated sessions has arrived
                await pool.ping()
            except DatabaseError:
                return False
            return True

        await monitor.wait_until(answers, True)
        await monitor.wait_until(monitor.connections, 2)


async def test_sessions_carry_the_application_name(database: str) -> None:
    async with started(Pool(database, PoolSettings(application_name="records"))) as pool:
        assert await pool.fetchval("SHOW application_name") == "records"


async def test_stop_waits_for_connections_in_use(database: str) -> None:
    pool = Pool(database)
    await pool.start()
    async with monitor_sessions(database) as monitor:
        work = asyncio.create_task(pool.fetchval("SELECT 7 FROM pg_sleep(0.05)"))
        await monitor.wait_until(monitor.busy, 1)
        await pool.stop()
        assert await work == 7
        await monitor.wait_until(monitor.connections, 0)
    with pytest.raises(DatabaseError, match="stopped"):
        await pool.ping()


async def test_stop_interrupts_what_is_in_use_after_its_timeout(database: str) -> None:
    pool = Pool(database, PoolSettings(max_size=2, min_size=0, stop_timeout=0.05))
    await pool.start()
    async with monitor_sessions(database) as monitor:
        work = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)"))
        held, idle = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with pool.connection():
                held.set()
                await idle.wait()

        holder = asyncio.create_task(hold())
        await held.wait()
        await monitor.wait_until(monitor.busy, 1)
        queued = asyncio.create_task(pool.ping())
        await asyncio.sleep(0)
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(Error, match="2 database connections were still in use"):
            await pool.stop()
        assert asyncio.get_running_loop().time() - started_at < 3
        for task in (work, queued):
            with pytest.raises(DatabaseError):
                await task
        idle.set()
        await holder
        await monitor.wait_until(monitor.connections, 0)


async def test_a_pool_can_be_started_and_stopped_repeatedly(database: str) -> None:
    pool = Pool(database, PoolSettings(min_size=2))
    async with monitor_sessions(database) as monitor:
        for _ in range(10):
            await pool.start()
            await pool.ping()
            await pool.stop()
        for _ in range(10):
            start = asyncio.create_task(pool.start())
            await asyncio.sleep(0)
            start.cancel()
            await asyncio.wait((start,))
            await pool.stop()
        await monitor.wait_until(monitor.connections, 0)
    assert pool.size == 0


async def test_a_connection_outside_the_pool_raises_the_drivers_errors(database: str) -> None:
    connection = await connect(database)
    with pytest.raises(Exception, match="syntax error") as caught:
        await connection.execute("SELECT 1;\nSELEC 2")
    assert getattr(caught.value, "position", None) == "11"
    assert await connection.fetchval("SHOW statement_timeout") == "0"
    await connection.close()


async def test_a_missing_database_is_an_error_at_once(database: str) -> None:
    missing = database.replace("/test_", "/no_such_")
    with pytest.raises(DatabaseError, match=r"no_such_.*there is no such database") as caught:
        await Pool(missing, PoolSettings(start_timeout=60)).start()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_repository_needs_only_public_names(database: str) -> None:
    async def count(connection: Connection | Pool) -> int:
        value = await connection.fetchval("SELECT 1")
        assert isinstance(value, int)
        return value

    async with started(Pool(database)) as pool, pool.transaction() as tx:
        assert await count(tx) == await count(pool) == 1


def test_max_size_may_be_less_than_the_default_min_size() -> None:
    assert Pool("postgresql://unused/", PoolSettings(max_size=1)).stats.max_size == 1
