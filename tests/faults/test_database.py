"""Migrations and the database's limits under traffic: many migrators, a newer schema, no connections."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
import pytest
from processes import ApiClient, ServiceCommand, free_port, run_command, running_engine

from myservice.cli import SERVICE
from myservice.scopes import SCOPES
from paceline.engines import PostgresEngine
from paceline.postgres.migrate import open_migrator
from paceline.testing import SilentLog, make_token

MIGRATORS, CLIENTS, SOME = 20, 8, 200
PATIENCE = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
Record = Callable[[str, object], None]

NEWER_UP = """\
ALTER TABLE records ADD COLUMN colour text NOT NULL DEFAULT 'none';
ALTER TABLE records ADD COLUMN weight bigint;
ALTER TABLE orders ADD COLUMN remark text;
"""
INDEX_UP = "CREATE INDEX CONCURRENTLY records_colour ON records (colour);\n"


@dataclass
class Traffic:
    """Clients that write and read, and what failed."""

    client: ApiClient
    answered: int = 0
    failed: list[object] = field(default_factory=list[object])
    stopped: bool = False

    async def run(self) -> None:
        """Create a record, read it and a page, until stopped."""
        while not self.stopped:
            status, made = await self._call("POST", "/api/v1/records", {"name": "a", "data": [1]})
            if status == 201:
                await self._call("GET", f"/api/v1/records/{made['id']}")
            await self._call("GET", "/api/v1/records?limit=20")

    async def _call(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> tuple[int, dict[str, str]]:
        status, answer = await self.client.request(method, path, body)
        self.answered += 1
        if status not in {200, 201}:
            self.failed.append((status, answer))
        return status, answer

    async def until_more(self, count: int) -> None:
        """Wait for so many more answers."""
        until, deadline = self.answered + count, monotonic() + PATIENCE
        while self.answered < until:
            assert monotonic() < deadline, self.failed[-3:]
            await asyncio.sleep(0.02)


@asynccontextmanager
async def served(dsn: str, folder: Path) -> AsyncGenerator[ApiClient]:
    """A server on the database. *Resources*: its process, until the end of the block."""
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=folder / "serve.log", APP_DATABASE_URL=dsn, APP_PORT=str(port),
        APP_ADMIN_PORT="0", APP_RATE_LIMIT="0", APP_MAX_DB_CONNS="25",
    )  # fmt: skip
    await service.start()
    try:
        yield ApiClient(port, make_token("ada", *SCOPES))
    finally:
        assert await asyncio.to_thread(service.stop, signal.SIGTERM) == 0


@asynccontextmanager
async def traffic_on(client: ApiClient) -> AsyncGenerator[Traffic]:
    """Clients until the end of the block."""
    traffic = Traffic(client)
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(traffic.run())
        yield traffic
        traffic.stopped = True


def newer_migrations(folder: Path) -> Path:
    """Those of the service, and two of its next version."""
    made = folder / "migrations"
    made.mkdir()
    for each in SERVICE.get_migrations().iterdir():
        if each.name.endswith(".sql"):
            (made / each.name).write_text(each.read_text())
    newest = max(int(each.name[:6]) for each in made.iterdir())
    for number, up in enumerate((NEWER_UP, INDEX_UP), start=newest + 1):
        (made / f"{number:06}_newer.up.sql").write_text(up)
        (made / f"{number:06}_newer.down.sql").write_text("SELECT 1;\n")
    return made


async def test_twenty_migrators_at_once_under_traffic_apply_each_migration_once(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    source = newer_migrations(tmp_path)

    async def migrate() -> int:
        async with open_migrator(migrated, source) as migrator:
            return len(await migrator.up())

    async with served(migrated, tmp_path) as client, traffic_on(client) as traffic:
        await traffic.until_more(SOME)
        began = monotonic()
        applied = await asyncio.gather(*(migrate() for _ in range(MIGRATORS)))
        took = monotonic() - began
        await traffic.until_more(SOME)
    assert max(applied) == sum(applied) == 2
    assert traffic.failed == []
    record_property(
        "figure", f"{MIGRATORS} migrators, {took:.1f} s, {traffic.answered} requests, none failed"
    )


async def test_a_version_and_the_next_ones_schema_serve_side_by_side(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    async with served(migrated, tmp_path) as old, traffic_on(old) as traffic:
        await traffic.until_more(SOME)
        async with open_migrator(migrated, newer_migrations(tmp_path)) as migrator:
            assert len(await migrator.up()) == 2
        await traffic.until_more(SOME)
        # One more of the old version starts on the newer schema, as in a deployment taken back.
        (tmp_path / "later").mkdir()
        async with served(migrated, tmp_path / "later") as late, traffic_on(late) as later:
            await later.until_more(SOME)
    assert traffic.failed == later.failed == []
    record_property("figure", f"{traffic.answered} requests across the migration, none failed")


async def test_when_others_have_every_connection_requests_are_refused_and_probes_answered(
    tmp_path: Path, record_property: Record
) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    options = {"max_connections": "12", "superuser_reserved_connections": "2"}
    postgres = PostgresEngine(
        SilentLog(), data_dir=tmp_path / "db", options=options, progress=lambda _: None
    )
    async with running_engine(postgres):
        administered = postgres.dsn()
        connection = await asyncpg.connect(administered)
        await connection.execute("CREATE ROLE service LOGIN SUPERUSER")
        await connection.close()
        assert run_command("migrate", "up", APP_DATABASE_URL=administered).returncode == 0
        connection = await asyncpg.connect(administered)
        await connection.execute(
            "ALTER ROLE service NOSUPERUSER; GRANT ALL ON ALL TABLES IN SCHEMA public TO service"
        )
        await connection.close()
        dsn = administered.replace("postgres@", "service@", 1)
        async with served(dsn, tmp_path) as client:
            assert (await client.request("POST", "/api/v1/records", {"name": "a"}))[0] == 201
            others = await all_connections(dsn, administered)
            statuses = [(await client.request("GET", "/api/v1/records"))[0] for _ in range(20)]
            assert (await client.request("GET", "/health"))[0] == 200
            assert (await client.request("GET", "/ready"))[0] == 503
            for each in others:
                await each.close()
            began = monotonic()
            while (await client.request("GET", "/api/v1/records"))[0] != 200:
                assert monotonic() < began + PATIENCE
                await asyncio.sleep(0.05)
            recovered = monotonic() - began
    assert {*statuses} == {503}
    record_property("figure", f"503 meanwhile, served again after {recovered:.2f} s")


async def all_connections(dsn: str, administered: str) -> list[asyncpg.Connection]:
    """End the service's connections and take every one that there is."""
    administrator = await asyncpg.connect(administered)
    taken: list[asyncpg.Connection] = []
    deadline = monotonic() + PATIENCE
    ours = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'service' AND pid <> ALL($1)"
    while True:
        pids = [each.get_server_pid() for each in taken]
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'service' AND pid <> ALL($1)", pids,
        )  # fmt: skip
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(dsn))
        pids = [each.get_server_pid() for each in taken]
        if taken and not await administrator.fetchval(ours, pids):
            return [*taken, administrator]
        assert monotonic() < deadline
