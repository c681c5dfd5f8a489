"""A network that is slow or loses packets, and names that nobody resolves."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from processes import ApiClient, ServiceCommand, free_port, run_command, running_engine

from myservice.scopes import SCOPES
from paceline.engines import PostgresEngine
from paceline.testing import SilentLog, make_token

DELAY, LOSS, RETRANSMISSION = 0.1, 0.01, 0.2
CLIENTS, REQUESTS = 32, 600
PATIENCE = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
Record = Callable[[str, object], None]


class SlowNetwork:
    """A proxy that delivers each piece a while later; a lost one a retransmission later, in order."""

    def __init__(self, path: str) -> None:
        self.port = 0
        self._path = path
        self._draw = random.Random(1)  # noqa: S311 - no secret
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there = await asyncio.open_unix_connection(self._path)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, there[1]))
                group.create_task(self._forward(there[0], writer))
        except* OSError:
            pass
        finally:
            there[1].close()
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        """End the connections that are left."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        while piece := await reader.read(65536):
            lost = self._draw.random() < LOSS
            due = max(due, loop.time() + DELAY + RETRANSMISSION * lost)
            loop.call_at(due, writer.write, piece)
        raise ConnectionResetError


@asynccontextmanager
async def slow_network(dsn: str) -> AsyncGenerator[str]:
    """The DSN through a slow network. *Resources*: a proxy, until the end of the block."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    network = SlowNetwork(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
    finally:
        server.close()
        await network.stop()


async def test_a_slow_network_is_no_overload(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    async with slow_network(migrated) as dsn:
        port = free_port()
        service = ServiceCommand(
            "serve", port=port, log=tmp_path / "log", APP_DATABASE_URL=dsn, APP_PORT=str(port),
            APP_ADMIN_PORT="0", APP_RATE_LIMIT="0",
        )  # fmt: skip
        await service.start()
        client = ApiClient(port, make_token("ada", *SCOPES))
        statuses: list[int] = []

        async def call() -> None:
            while len(statuses) < REQUESTS:
                status, _ = await client.request("POST", "/api/v1/records", {"name": "a"})
                statuses.append(status)
                status, _ = await client.request("GET", "/api/v1/records?limit=5")
                statuses.append(status)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(call())
        finally:
            assert await asyncio.to_thread(service.stop, signal.SIGTERM) == 0
    assert {*statuses} <= {200, 201}
    record_property(
        "figure",
        f"{DELAY * 2e3:.0f} ms a round trip, 1 % lost: {len(statuses)} requests, none refused",
    )


class Names:
    """What programs in a mount namespace of their own resolve names by: a file, then silence."""

    def __init__(self, folder: Path) -> None:
        self._hosts = folder / "hosts"
        resolver = folder / "resolv.conf"
        switch = folder / "nsswitch.conf"
        self._silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._silent.bind(("127.0.0.53", 53))
        resolver.write_text("nameserver 127.0.0.53\noptions timeout:10 attempts:3\n")
        switch.write_text("hosts: files dns\n")
        self.known()
        mounts = "; ".join(
            f"mount --bind {file} /etc/{file.name}" for file in (self._hosts, resolver, switch)
        )
        self.prefix = ("unshare", "-m", "sh", "-ec", f'{mounts}; exec "$@"', "sh")

    def known(self) -> None:
        """The database's name is known."""
        self._hosts.write_text("127.0.0.1 localhost database.test\n")

    def unknown(self) -> None:
        """Whoever asks for it waits half a minute."""
        self._hosts.write_text("127.0.0.1 localhost\n")

    def close(self) -> None:
        """Close the socket that never answers."""
        self._silent.close()


@pytest.fixture
def names(tmp_path: Path) -> Generator[Names]:
    if os.geteuid():
        pytest.skip("needs root, for a resolver that never answers")
    try:
        found = Names(tmp_path)
    except OSError as exc:
        pytest.skip(f"needs port 53 of 127.0.0.53: {exc}")
    yield found
    found.close()


async def test_while_names_are_not_resolved_the_loop_is_free(
    names: Names, tmp_path: Path, record_property: Record
) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    postgres = PostgresEngine(
        SilentLog(), data_dir=tmp_path / "db", port=free_port(), progress=lambda _: None
    )
    async with running_engine(postgres):
        assert run_command("migrate", "up", APP_DATABASE_URL=postgres.dsn()).returncode == 0
        port = free_port()
        service = ServiceCommand(
            "serve", port=port, log=tmp_path / "log", prefix=names.prefix,
            APP_DATABASE_URL=postgres.tcp_dsn().replace("127.0.0.1", "database.test"),
            APP_PORT=str(port), APP_ADMIN_PORT="0", APP_RATE_LIMIT="0", APP_REQUEST_TIMEOUT="2s",
        )  # fmt: skip
        await service.start()
        client = ApiClient(port, make_token("ada", *SCOPES))
        try:
            assert (await client.request("GET", "/api/v1/records"))[0] == 200
            names.unknown()
            await end_sessions(postgres.dsn())
            slowest, statuses = 0.0, list[int]()

            async def call() -> None:
                statuses.append((await client.request("GET", "/api/v1/records"))[0])

            async with asyncio.TaskGroup() as group:
                for _ in range(40):
                    group.create_task(call())
                for _ in range(50):
                    began = monotonic()
                    assert (await client.request("GET", "/health"))[0] == 200
                    slowest = max(slowest, monotonic() - began)
                    await asyncio.sleep(0.05)
            names.known()
            began = monotonic()
            while (await client.request("GET", "/api/v1/records"))[0] != 200:
                assert monotonic() < began + PATIENCE
                await asyncio.sleep(0.1)
            recovered = monotonic() - began
        finally:
            assert await asyncio.to_thread(service.stop, signal.SIGTERM) == 0
    assert {*statuses} <= {503, 504}
    assert slowest < 1.0
    record_property(
        "figure",
        f"40 requests refused in time, slowest probe {slowest * 1e3:.0f} ms,"
        f" served again {recovered:.0f} s after names were known",
    )


async def end_sessions(dsn: str) -> None:
    """End every other session of the server."""
    connection = await asyncpg.connect(dsn)
    with suppress(asyncpg.PostgresError):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    await connection.close()
