"""A primary that becomes read-only, and another that takes over: the pool finds the right one."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pg_sessions import started

from paceline.engines import PostgresEngine
from paceline.errors import Code
from paceline.postgres import DatabaseError, Pool, PoolSettings, connect, listening
from paceline.testing import RecordingLog
from paceline.testing.postgres_servers import new_test_postgres

pytestmark = pytest.mark.integration


async def administer(dsn: str, *statements: str) -> None:
    connection = await connect(dsn)
    try:
        await connection.execute("SET transaction_read_only = off")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def make_read_only(dsn: str, value: str) -> None:
    """For new sessions only: those that are open stay what they are, as those of an old primary."""
    name = urlsplit(dsn).path[1:]
    await administer(
        dsn,
        "BEGIN READ WRITE",
        f"ALTER DATABASE {name} SET default_transaction_read_only = {value}",
        "COMMIT",
    )


async def outcome(pool: Pool) -> Code:
    try:
        await pool.execute("INSERT INTO things VALUES (1)")
    except DatabaseError as exc:
        return exc.code
    return Code.OK


async def readiness(pool: Pool) -> str:
    try:
        await pool.ping()
    except DatabaseError as exc:
        return exc.message
    return ""


async def until_writable(pool: Pool) -> None:
    async with asyncio.timeout(10):
        while set(await asyncio.gather(*(outcome(pool) for _ in range(6)))) != {Code.OK}:  # noqa: ASYNC110 - the event is in the server
            await asyncio.sleep(0.05)


async def test_connections_to_a_server_that_takes_no_writes_are_replaced_when_one_does(
    database: str,
) -> None:
    await administer(database, "CREATE TABLE things (n int)")
    await make_read_only(database, "on")
    async with started(Pool(database, PoolSettings(max_size=3, min_size=3))) as pool:
        assert "takes no writes" in await readiness(pool)
        assert await outcome(pool) is Code.UNAVAILABLE
        assert await pool.fetchval("SELECT count(*) FROM things") == 0
        await make_read_only(database, "off")
        await until_writable(pool)
        assert await readiness(pool) == ""


async def test_readiness_alone_finds_that_the_server_takes_no_writes(database: str) -> None:
    await make_read_only(database, "on")
    async with started(Pool(database, PoolSettings(max_size=3, min_size=3))) as pool:
        assert "target_session_attrs=any" in await readiness(pool)
        await make_read_only(database, "off")
        async with asyncio.timeout(10):
            while await readiness(pool):  # noqa: ASYNC110 - the event is in the server
                await asyncio.sleep(0.05)


async def test_a_service_that_only_reads_is_ready_on_a_standby(database: str) -> None:
    await make_read_only(database, "on")
    reading = f"{database}&target_session_attrs=any"
    async with started(Pool(reading, PoolSettings(max_size=1))) as pool:
        assert await readiness(pool) == ""
    await make_read_only(database, "off")


@pytest.mark.timeout(20)
async def test_a_refused_write_on_a_standby_that_is_meant_to_be_one_holds_up_nothing(
    database: str,
) -> None:
    await make_read_only(database, "on")
    reading = f"{database}&target_session_attrs=any"
    async with started(Pool(reading, PoolSettings(max_size=1))) as pool:
        with pytest.raises(DatabaseError) as caught:
            await pool.execute("CREATE TABLE things (n int)")
        assert caught.value.sqlstate == "25006"
        assert await pool.fetchval("SELECT 1") == 1
        assert await readiness(pool) == ""
    await make_read_only(database, "off")


async def test_a_write_in_a_transaction_that_is_to_read_only_replaces_nothing(
    database: str,
) -> None:
    async with started(Pool(database, PoolSettings(max_size=1))) as pool:
        before = await pool.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(DatabaseError) as caught:
            async with pool.transaction(read_only=True) as tx:
                await tx.execute("CREATE TABLE things (n int)")
        assert caught.value.sqlstate == "25006"
        assert await pool.fetchval("SELECT pg_backend_pid()") == before


@pytest.fixture
async def two(tmp_path: Path) -> AsyncGenerator[tuple[PostgresEngine, PostgresEngine]]:
    engines = (new_test_postgres(tmp_path / "a"), new_test_postgres(tmp_path / "b"))
    await asyncio.gather(*(engine.start() for engine in engines))
    try:
        yield engines
    finally:
        await asyncio.gather(*(engine.stop() for engine in engines))


def several(engines: tuple[PostgresEngine, PostgresEngine], more: str = "") -> str:
    folders = [engine.dsn().partition("?host=")[2].partition("&")[0] for engine in engines]
    return f"postgresql://postgres@/postgres?host={','.join(folders)}&port=5432{more}"


async def set_read_only(engine: PostgresEngine, value: str) -> None:
    await administer(
        engine.dsn(),
        f"ALTER SYSTEM SET default_transaction_read_only = {value}",
        "SELECT pg_reload_conf()",
    )


async def test_of_several_servers_the_one_that_takes_writes_is_used_and_followed(
    two: tuple[PostgresEngine, PostgresEngine],
) -> None:
    first, second = two
    for engine in two:
        await administer(engine.dsn(), "CREATE TABLE things (n int)")
    await set_read_only(first, "on")
    settings = PoolSettings(max_size=3, min_size=3, maintenance_interval=0.5)
    async with started(Pool(several(two), settings)) as pool:
        await until_writable(pool)
        assert await count_of(second) >= 6
        await set_read_only(second, "on")
        await set_read_only(first, "off")
        await until_writable(pool)
        assert await count_of(first) >= 6
        assert await readiness(pool) == ""


async def test_of_several_servers_one_that_is_down_is_passed_over(
    two: tuple[PostgresEngine, PostgresEngine],
) -> None:
    await two[0].stop()
    async with started(Pool(several(two), PoolSettings(max_size=2))) as pool:
        assert await readiness(pool) == ""


async def test_when_no_server_takes_writes_the_start_says_so(
    two: tuple[PostgresEngine, PostgresEngine],
) -> None:
    for engine in two:
        await set_read_only(engine, "on")
    pool = Pool(several(two), PoolSettings(start_timeout=0.3))
    with pytest.raises(DatabaseError, match="no server there takes writes"):
        await pool.start()
    await pool.stop()
    standby = Pool(several(two, "&target_session_attrs=prefer-standby"), PoolSettings(max_size=1))
    async with started(standby):
        assert await readiness(standby) == ""


async def test_a_server_that_does_not_answer_leaves_time_for_the_next(
    two: tuple[PostgresEngine, PostgresEngine],
) -> None:
    with silent_server() as port:
        folder = several(two).partition("host=")[2].partition(",")[0]
        dsn = f"postgresql://postgres@/postgres?host=127.0.0.1,{folder}&port={port},5432"
        async with started(Pool(f"{dsn}&connect_timeout=1", PoolSettings(max_size=1))) as pool:
            assert await readiness(pool) == ""


async def test_a_listener_leaves_a_server_that_takes_no_writes(
    two: tuple[PostgresEngine, PostgresEngine],
) -> None:
    log = RecordingLog()
    first, second = two
    await set_read_only(second, "on")
    async with listening(
        several(two), "news", log, check_interval=0.05, reconnect_delay=0.05
    ) as wakeup:
        await wakeup.wait()
        await set_read_only(second, "off")
        await set_read_only(first, "on")
        await wakeup.wait()
        await administer(second.dsn(), "NOTIFY news")
        await wakeup.wait()


@contextmanager
def silent_server() -> Generator[int]:
    """A port on which connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening_socket:
        port: int = listening_socket.getsockname()[1]
        yield port


async def count_of(engine: PostgresEngine) -> int:
    connection = await connect(engine.dsn())
    try:
        return int(await connection.fetchval("SELECT count(*) FROM things"))
    finally:
        await connection.close()
