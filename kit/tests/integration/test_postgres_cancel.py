"""Cancellation and expired deadlines at any moment: the server stops, the pool stays intact."""

import asyncio
import random
from collections.abc import Callable

import pytest
import uvloop
from pg_sessions import started

from paceline.concurrency.deadline import fail_after
from paceline.errors import Code, Error
from paceline.postgres import Connection, DatabaseError, Pool, PoolSettings
from paceline.testing import SessionMonitor, monitor_sessions
from paceline.testing.cancel import cancel_at_every_await

pytestmark = pytest.mark.integration

LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@LOOPS
@pytest.mark.parametrize(
    ("max_lifetime", "least"), [(1800.0, 12), (1e-9, 12)], ids=["kept", "opened every time"]
)
def test_work_cancelled_at_every_wait_leaves_the_pool_intact(
    database: str, new_loop: NewLoop, max_lifetime: float, least: int
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(cancel_everything(database, max_lifetime)) >= least


async def cancel_everything(database: str, max_lifetime: float) -> int:
    pool = Pool(database, PoolSettings(max_size=2, min_size=0, max_lifetime=max_lifetime))

    async with monitor_sessions(database) as monitor:
        places = await _cancel_everything(pool, monitor)
        await monitor.wait_until(monitor.connections, 0)
    return places


async def _cancel_everything(pool: Pool, monitor: SessionMonitor) -> int:
    async def insert(tx: Connection) -> None:
        await tx.execute("INSERT INTO t DEFAULT VALUES")
        await tx.fetchval("SELECT pg_sleep(0.002)")
        await tx.execute("INSERT INTO t DEFAULT VALUES")

    async def work() -> None:
        async with fail_after(30, "request"):
            await pool.fetchrow("SELECT n FROM t LIMIT 1")
            async with pool.connection() as connection:
                await connection.execute("SET statement_timeout = '1h'")
                await connection.fetch("SELECT n FROM t")
            await pool.transact(insert, isolation="serializable")

    async with started(pool):
        await pool.execute("CREATE TABLE t (n bigint GENERATED ALWAYS AS IDENTITY)")

        async def intact() -> None:
            assert pool.in_use == 0
            assert pool.size <= 2
            await monitor.wait_until(monitor.busy, 0)
            assert await pool.fetchval("SELECT count(*) % 2 FROM t") == 0
            assert await pool.fetchval("SHOW statement_timeout") == "0"
            assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(3))) == [1] * 3
            assert pool.size <= 2

        return await cancel_at_every_await(work, intact)


@LOOPS
def test_a_queue_for_the_last_connection_survives_cancellation_at_every_wait(
    database: str, new_loop: NewLoop
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(cancel_in_the_queue(database)) > 2


async def cancel_in_the_queue(database: str) -> int:
    pool = Pool(database, PoolSettings(max_size=1, min_size=0))

    async def occupy(entered: asyncio.Event) -> None:
        async with pool.connection():
            entered.set()
            await asyncio.sleep(0.001)

    async def work() -> None:
        entered = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(occupy(entered))
            await entered.wait()
            # Served either by the occupant or by the one who waits beside us.
            group.create_task(pool.ping())
            assert await pool.fetchval("SELECT 1") == 1

    async with started(pool), monitor_sessions(database) as monitor:

        async def intact() -> None:
            assert pool.in_use == 0
            assert pool.size <= 1
            await monitor.wait_until(monitor.busy, 0)
            await pool.ping()

        return await cancel_at_every_await(work, intact)


@LOOPS
def test_tasks_cancelled_at_random_lose_no_slot_and_no_connection(
    database: str, new_loop: NewLoop
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(cancel_at_random(database))


async def cancel_at_random(database: str) -> None:
    chance = random.Random(1)  # noqa: S311 - a repeatable test
    pool = Pool(database, PoolSettings(max_size=4, min_size=0, max_lifetime=0.05))

    async def work(seconds: float) -> object:
        async with pool.transaction() as tx:
            return await tx.fetchval("SELECT pg_sleep($1)", seconds)

    async with started(pool), monitor_sessions(database) as monitor:
        for _ in range(20):
            crowd = [asyncio.create_task(work(chance.random() / 200)) for _ in range(20)]
            loop = asyncio.get_running_loop()
            for task in chance.sample(crowd, 10):
                loop.call_later(chance.random() / 50, task.cancel)
            await asyncio.wait(crowd)
            assert all(task.cancelled() or task.exception() is None for task in crowd)
            assert pool.in_use == 0
            assert pool.size <= 4
        await monitor.wait_until(monitor.busy, 0)
        assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(8))) == [1] * 8


@LOOPS
def test_a_cancelled_statement_stops_in_the_server_without_delaying_its_caller(
    database: str, new_loop: NewLoop
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(cancel_a_long_statement(database))


async def cancel_a_long_statement(database: str) -> None:
    async with (
        started(Pool(database, PoolSettings(max_size=2, min_size=0))) as pool,
        monitor_sessions(database) as monitor,
    ):
        tasks = [asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)")) for _ in range(2)]
        await monitor.wait_until(monitor.busy, 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert pool.size == 2, "the places are free only when the server has let go"
        assert await pool.fetchval("SELECT 1") == 1
        await monitor.wait_until(monitor.busy, 0)


async def test_a_statement_ends_at_the_deadline_in_the_server_too(
    database: str,
) -> None:
    async with (
        started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool,
        monitor_sessions(database) as monitor,
    ):
        with pytest.raises(
            Error, match=r"a database query exceeded the 0\.05s limit of request"
        ) as caught:
            async with fail_after(0.05, "request"):
                await pool.fetchval("SELECT pg_sleep(600)")
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        await monitor.wait_until(monitor.busy, 0)
        await pool.ping()


async def test_a_child_task_observes_the_deadline_of_its_parent(database: str) -> None:
    async with (
        started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool,
        monitor_sessions(database) as monitor,
    ):
        async with fail_after(0.05, "request"):
            children = [
                asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)")),
                asyncio.create_task(pool.fetchval("SELECT 1")),
            ]
        for child in children:
            with pytest.raises(DatabaseError) as caught:
                await child
            assert caught.value.code is Code.DEADLINE_EXCEEDED
        await monitor.wait_until(monitor.busy, 0)
        await pool.ping()


async def test_the_command_timeout_bounds_every_statement(database: str) -> None:
    pool = Pool(database, PoolSettings(max_size=1, min_size=1, command_timeout=0.05))
    async with started(pool), monitor_sessions(database) as monitor:
        async with pool.connection() as connection:
            with pytest.raises(DatabaseError, match="the database took too long") as caught:
                await connection.fetchval("SELECT pg_sleep(600)")
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        await monitor.wait_until(monitor.busy, 0)
        await pool.ping()


async def test_an_expired_deadline_takes_no_connection(database: str) -> None:
    async with started(Pool(database, PoolSettings(max_size=1, min_size=1))) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")

        async def late() -> None:
            await pool.ping()

        with pytest.raises(Error):
            async with fail_after(0, "request"):
                await asyncio.create_task(late())
        assert await pool.fetchval("SELECT pg_backend_pid()") == pid
