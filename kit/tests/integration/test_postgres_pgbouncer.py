"""Behind PgBouncer: statements without names, no migrations, and no notifications to wait for."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import LiteralString

import pytest
from pg_sessions import started
from pgbouncer import pgbouncer_before

from paceline.errors import Code, Error
from paceline.postgres import Pool, PoolSettings, connect, is_pooled, listening, uuid7
from paceline.postgres.migrate import SharedSession, open_migrator
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration


@pytest.fixture
def pooler(database: str, tmp_path: Path) -> Generator[str]:
    with pgbouncer_before(database, tmp_path / "pgbouncer") as url:
        yield url


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "000001_a.up.sql").write_text("CREATE TABLE a (id int);")
    (folder / "000001_a.down.sql").write_text("DROP TABLE a;")
    return folder


async def test_a_pooler_is_told_from_a_server(database: str, pooler: str) -> None:
    for url, expected in ((database, False), (pooler, True)):
        connection = await connect(url)
        assert await is_pooled(connection) is expected
        await connection.close()


async def test_many_pools_at_once_share_few_sessions_and_nothing_fails(pooler: str) -> None:
    sql: LiteralString = "SELECT $1::int AS n, $2::uuid[] AS ids, $3::jsonb AS data"

    async def work(pool: Pool, number: int) -> None:
        rows = await pool.fetch(sql, number, [uuid7()], "{}")
        assert rows[0]["n"] == number
        async with pool.transaction() as tx:
            await tx.execute("INSERT INTO things VALUES ($1)", number)
            assert await tx.fetchval("SELECT count(*) FROM things WHERE n = $1", number) == 1

    settings = PoolSettings(max_size=8, min_size=4)
    async with started(Pool(pooler, settings)) as one, started(Pool(pooler, settings)) as two:
        await one.execute("CREATE TABLE things (n int)")
        for turn in range(5):
            await asyncio.gather(*(work((one, two)[n % 2], 1000 * turn + n) for n in range(100)))
        assert await one.fetchval("SELECT count(*) FROM things") == 500
    async with started(Pool(pooler, settings)) as later:
        await work(later, -1)


async def test_statements_have_names_where_the_url_says_there_is_a_session_for_each(
    database: str, tmp_path: Path
) -> None:
    with pgbouncer_before(database, tmp_path / "pgbouncer", mode="session") as url:
        async with started(
            Pool(f"{url}?pgbouncer=false", PoolSettings(max_size=1, min_size=1))
        ) as pool:
            for _ in range(3):
                await pool.fetchval("SELECT $1::int", 1)
            assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements") > 0
    async with started(
        Pool(f"{database}&pgbouncer=true", PoolSettings(max_size=1, min_size=1))
    ) as pool:
        for _ in range(3):
            await pool.fetchval("SELECT $1::int", 1)
        assert await pool.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_migrations_are_refused_through_a_pooler_and_their_state_is_read(
    database: str, pooler: str, migrations: Path
) -> None:
    for _ in range(2):
        async with open_migrator(pooler, migrations) as migrator:
            assert (await migrator.state()).version is None
            for refused in (migrator.up(), migrator.force(1)):
                with pytest.raises(SharedSession) as caught:
                    await refused
                assert "APP_DATABASE_DIRECT_URL" in caught.value.message
    async with open_migrator(database, migrations) as migrator:
        await migrator.up()
    async with open_migrator(pooler, migrations) as migrator:
        assert (await migrator.state()).version == 1
        assert await migrator.up() == ()


async def test_listening_through_a_pooler_says_once_that_nothing_will_come(pooler: str) -> None:
    log = RecordingLog()
    async with listening(pooler, "news", log, reconnect_delay=0.01) as wakeup:
        await wakeup.wait()
        async with asyncio.timeout(5):
            while not log.events("warning"):  # noqa: ASYNC110 - what is waited for is in the log
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(log.events("warning")) == 1


async def test_a_statement_that_takes_too_long_is_cancelled_behind_a_pooler_too(
    pooler: str,
) -> None:
    settings = PoolSettings(max_size=2, min_size=1, command_timeout=0.3)
    async with started(Pool(pooler, settings)) as pool:
        with pytest.raises(Error) as caught:
            await pool.fetchval("SELECT pg_sleep(60)")
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        async with asyncio.timeout(5):
            while await pool.fetchval(  # noqa: ASYNC110 - the state is the server's
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
                " AND state = 'active'"
            ):
                await asyncio.sleep(0.05)
