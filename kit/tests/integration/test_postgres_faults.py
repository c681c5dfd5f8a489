"""A pool whose server ends its connections or restarts: it recovers, and errors say what happened."""

import asyncio
from pathlib import Path

import pytest
from pg_sessions import started

from paceline.engines import PostgresEngine, free_ports
from paceline.errors import Code
from paceline.postgres import DatabaseError, Pool, PoolSettings
from paceline.testing import monitor_sessions
from paceline.testing.logs import SilentLog
from paceline.testing.postgres_servers import new_test_postgres

pytestmark = pytest.mark.integration


async def answers(pool: Pool) -> Code:
    try:
        await pool.ping()
    except DatabaseError as exc:
        return exc.code
    return Code.OK


async def all_answers(pool: Pool) -> set[Code]:
    """The outcome of a statement on each connection; one may have to detect its end first."""
    return set(await asyncio.gather(*(answers(pool) for _ in range(9))))


async def test_lost_connections_are_replaced(database: str) -> None:
    async with (
        started(Pool(database, PoolSettings(max_size=3, min_size=3))) as pool,
        monitor_sessions(database) as monitor,
    ):
        for _ in range(5):
            await monitor.terminate_all()
            await monitor.wait_until(lambda: all_answers(pool), {Code.OK})
        assert pool.size <= 3


async def test_a_statement_whose_connection_is_lost_is_unavailable(database: str) -> None:
    async with (
        started(Pool(database, PoolSettings(max_size=1, min_size=0))) as pool,
        monitor_sessions(database) as monitor,
    ):
        running = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)"))
        queued = asyncio.create_task(pool.fetchval("SELECT 1"))
        await monitor.wait_until(monitor.busy, 1)
        await monitor.terminate_all()
        with pytest.raises(DatabaseError) as caught:
            await running
        assert caught.value.code is Code.UNAVAILABLE
        assert await queued == 1


async def test_a_pool_recovers_after_a_restart_of_the_server(tmp_path: Path) -> None:
    engine = new_test_postgres(tmp_path)
    await engine.start()
    try:
        pool = Pool(
            engine.dsn(),
            PoolSettings(max_size=3, min_size=2, acquire_timeout=1, maintenance_interval=0.02),
        )
        async with started(pool):
            running = asyncio.create_task(pool.fetchval("SELECT pg_sleep(600)"))
            async with monitor_sessions(engine.dsn()) as monitor:
                await monitor.wait_until(monitor.busy, 1)
            await engine.stop()
            for late in (running, asyncio.create_task(pool.ping())):
                with pytest.raises(DatabaseError) as caught:
                    await late
                assert caught.value.code is Code.UNAVAILABLE
            await engine.start()
            async with monitor_sessions(engine.dsn()) as monitor:
                await monitor.wait_until(monitor.connections, 2)
            assert await asyncio.gather(*(pool.fetchval("SELECT 1") for _ in range(9))) == [1] * 9
            assert pool.in_use == 0
    finally:
        await engine.stop()


async def test_a_server_that_is_starting_up_is_waited_for(tmp_path: Path) -> None:
    engine = new_test_postgres(tmp_path)
    await engine.start()
    await engine.stop()
    pool = Pool(engine.dsn(), PoolSettings(start_timeout=20))
    starting = asyncio.create_task(pool.start())
    await asyncio.sleep(0)
    await engine.start()
    try:
        await starting
        await pool.ping()
        await pool.stop()
    finally:
        await engine.stop()


async def test_a_wrong_password_says_so_and_an_unknown_parameter_is_named(tmp_path: Path) -> None:
    engine = PostgresEngine(SilentLog(), data_dir=tmp_path, port=free_ports(1)[0])
    await engine.start()
    try:
        good = engine.tcp_dsn()
        right = good.partition("//")[2].partition("@")[0]
        wrong = good.replace(right, "postgres:not-this-one")
        for dsn, says in {
            wrong: "the password or the user name is wrong",
            f"{good}?nonsense=1": "it does not take the parameter nonsense of the database URL",
            f"{good}?statement_timeout=x": "it does not take the parameter statement_timeout",
            f"{good}x": "there is no such database",
        }.items():
            pool = Pool(dsn)
            with pytest.raises(DatabaseError, match=says) as caught:
                await pool.start()
            assert caught.value.code is Code.UNAVAILABLE
            assert "not-this-one" not in caught.value.message
            await pool.stop()
        named = Pool(f"{good}?application_name=theirs", PoolSettings(application_name="ours"))
        async with started(named):
            assert await named.fetchval("SHOW application_name") == "theirs"
    finally:
        await engine.stop()
