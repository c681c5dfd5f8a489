"""Little memory, many clients, much cancellation: it refuses or waits, and nothing is left behind."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic
from typing import Any

import asyncpg
import pytest
from otlp_receiver import http_receiver
from processes import ApiClient, ServiceCommand, free_port
from wired_service import config_on, wire_service

from myservice.scopes import SCOPES
from paceline.testing import RecordingLog, make_token

FULL = os.environ.get("FAULTS_TEST") == "full"
CANCELLED = 10_000 if FULL else 1_000
IDLE = 8_000 if FULL else 1_000
MEBIBYTE = 1 << 20
MEMORY = 256
PATIENCE = 60.0
FLOOD, TRACES = 2_000, 50
GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
Record = Callable[[str, object], None]


class MemoryGroup:
    """A cgroup with 256 MiB, of either version. *Resources*: the group, until `remove`."""

    def __init__(self) -> None:
        self.folder = Path()
        for parent, limit, self._peak in (
            (GROUPS[0], "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            (GROUPS[1], "memory.max", "memory.peak"),
        ):
            folder = parent / f"paceline-test-{os.getpid()}"
            with suppress(OSError):
                folder.mkdir()
                (folder / limit).write_text(str(MEMORY * MEBIBYTE))
                self.folder = folder
                return
        pytest.skip("needs root and a cgroup of memory")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before a command, it runs in the group."""
        return ("sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def peak(self) -> int:
        """The most that was used, in bytes; with version 1 the page cache counts, too."""
        return int((self.folder / self._peak).read_text())

    def remove(self) -> None:
        """Remove it, once its processes have ended."""
        self.folder.rmdir()


@pytest.fixture
def group() -> Generator[MemoryGroup]:
    found = MemoryGroup()
    yield found
    found.remove()


async def test_in_256_mib_it_refuses_and_does_not_die(
    group: MemoryGroup, migrated: str, tmp_path: Path, record_property: Record
) -> None:
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=tmp_path / "log", prefix=group.prefix,
        APP_DATABASE_URL=migrated, APP_PORT=str(port), APP_ADMIN_PORT="0", APP_RATE_LIMIT="0",
    )  # fmt: skip
    await service.start()
    client = ApiClient(port, make_token("ada", *SCOPES))
    statuses: dict[int, int] = {}

    async def call(method: str, path: str, body: dict[str, object] | None = None) -> None:
        try:
            status, _ = await client.request(method, path, body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status = 0
        statuses[status] = statuses.get(status, 0) + 1

    try:
        usual: dict[str, object] = {"name": "usual", "data": "x" * 1_000}
        large: dict[str, object] = {"name": "large", "data": "x" * 60_000}
        for _ in range(100):
            await call("POST", "/api/v1/records", usual)
        for _ in range(3):
            async with asyncio.TaskGroup() as calls:
                for _ in range(400):
                    calls.create_task(call("GET", "/api/v1/records?limit=100"))
                for _ in range(200):
                    calls.create_task(call("POST", "/api/v1/records", large))
        assert (await client.request("GET", "/ready"))[0] == 200
    finally:
        assert service.stop(signal.SIGTERM) == 0
    assert statuses.keys() <= {200, 201, 503}
    assert statuses[200] > 0
    record_property(
        "figure",
        f"at most {group.peak // MEBIBYTE} of {MEMORY} MiB; "
        + ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())),
    )


async def test_large_pages_are_cut_and_leave_it_alive_in_256_mib(
    group: MemoryGroup, migrated: str, tmp_path: Path, record_property: Record
) -> None:
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=tmp_path / "log", prefix=group.prefix,
        APP_DATABASE_URL=migrated, APP_PORT=str(port), APP_ADMIN_PORT="0", APP_RATE_LIMIT="0",
    )  # fmt: skip
    await service.start()
    client = ApiClient(port, make_token("ada", *SCOPES))
    pages: list[str] = []
    statuses: dict[int, int] = {}

    async def call(path: str) -> None:
        try:
            status, _ = await client.request("GET", path)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status = 0
        statuses[status] = statuses.get(status, 0) + 1

    try:
        ids: list[str] = []
        for number in range(100):
            body = {"name": f"large {number}", "data": "x" * 60_000}
            status, made = await client.request("POST", "/api/v1/records", body)
            assert status == 201
            ids.append(made["id"])
        seen: list[str] = []
        more = "/api/v1/records?limit=100"
        while more:
            status, answer = await client.request("GET", more)
            assert status == 200
            pages.append(more)
            page: dict[str, Any] = dict(answer)
            seen += [each["id"] for each in page["records"]]
            cursor = page["next_cursor"]
            more = f"/api/v1/records?limit=100&cursor={cursor}" if cursor else ""
        assert seen == ids
        for _ in range(3):
            async with asyncio.TaskGroup() as calls:
                for number in range(150):
                    path = pages[number % (len(pages) - 1)]
                    calls.create_task(call(path if number % 3 else f"{pages[0]}&prefix=large"))
        assert (await client.request("GET", "/ready"))[0] == 200
    finally:
        assert service.stop(signal.SIGTERM) == 0
    assert statuses.keys() <= {200, 503}
    assert statuses[200] > 0
    record_property(
        "figure",
        f"6 MB in {len(pages)} pages; at most {group.peak // MEBIBYTE} of {MEMORY} MiB; "
        + ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())),
    )


async def test_a_flood_of_sampled_requests_is_served_and_recorded_within_the_limit(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    port, admin = free_port(), free_port()
    head = (
        "GET /api/v1/records HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {make_token('ada', *SCOPES)}\r\n"
        f"traceparent: 00-{'a' * 32}-{'b' * 16}-01\r\n\r\n"
    ).encode()
    with http_receiver() as collector:
        service = ServiceCommand(
            "serve", port=port, log=tmp_path / "log", APP_DATABASE_URL=migrated,
            APP_PORT=str(port), APP_ADMIN_PORT=str(admin), APP_RATE_LIMIT="0", APP_TRACE_RATIO="0",
            APP_TRACE_LIMIT=str(TRACES), APP_OTEL_ENDPOINT=collector.address,
        )  # fmt: skip
        await service.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = monotonic()
            for _ in range(FLOOD):
                writer.write(head)
                assert b" 200 " in await reader.readuntil(b"\r\n")
                fields = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", fields, re.IGNORECASE)
                assert length is not None
                await reader.readexactly(int(length[1]))
            writer.close()
            took = monotonic() - began
            reader, writer = await asyncio.open_connection("127.0.0.1", admin)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            metrics = (await reader.read()).decode()
            writer.close()
        finally:
            assert await asyncio.to_thread(service.stop, signal.SIGTERM) == 0
        recorded = sum(span.name == "GET /api/v1/records" for span in collector.spans)
    assert TRACES < recorded <= TRACES * (2 + took)
    counted = re.search(r"^paceline_traces_limited_total ([\d.e+]+)", metrics, re.MULTILINE)
    assert counted is not None
    assert float(counted[1]) == FLOOD - recorded
    record_property(
        "figure",
        f"limit {TRACES}/s: of {FLOOD:,} requests in {took:.1f} s {recorded} were recorded,"
        f" {len(collector.spans):,} spans",
    )


async def test_cancelled_requests_leave_no_task_no_connection_and_no_lock(
    migrated: str, record_property: Record
) -> None:
    process = wire_service(
        config_on(migrated, rate_limit=0, max_db_conns=4), RecordingLog(), listens=True
    )
    token = make_token("ada", *SCOPES)
    heads = [
        f"{line}\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        for line, body in (
            ("GET /api/v1/records?limit=100 HTTP/1.1", ""),
            ("POST /api/v1/records HTTP/1.1", '{"name": "a"}'),
            ("POST /api/v1/accounts HTTP/1.1", "{}"),
        )
    ]
    async with process.lifecycle:
        port = process.servers["http"].port
        client = ApiClient(port, token)
        for _ in range(3):
            assert (await client.request("GET", "/api/v1/records"))[0] == 200
        before = len(asyncio.all_tasks())
        for start in range(0, CANCELLED, 100):
            async with asyncio.TaskGroup() as calls:
                for number in range(start, start + 100):
                    calls.create_task(leave(port, heads[number % len(heads)], number % 7))
        deadline = monotonic() + PATIENCE
        while (left := len(asyncio.all_tasks()) - before) > 0:
            assert monotonic() < deadline, f"{left} tasks are left"
            await asyncio.sleep(0.05)
        assert (await client.request("GET", "/api/v1/records"))[0] == 200
        connection = await asyncpg.connect(migrated)
        try:
            locks = await connection.fetchval(
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND locktype <> 'advisory'"
            )
            busy = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
            )
        finally:
            await connection.close()
    assert (locks, busy) == (0, 0)
    record_property("figure", f"{CANCELLED:,} requests left: no task, no lock, no open transaction")


async def leave(port: int, head: bytes, rounds: int) -> None:
    """Send a request and leave after some rounds of the loop."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    for _ in range(rounds):
        await asyncio.sleep(0)
    writer.transport.abort()


async def test_idle_clients_cost_little_and_others_are_served(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=tmp_path / "log", APP_DATABASE_URL=migrated, APP_PORT=str(port),
        APP_ADMIN_PORT="0",
    )  # fmt: skip
    await service.start()
    idle: list[socket.socket] = []
    try:
        client = ApiClient(port, make_token("ada", *SCOPES))
        assert (await client.request("GET", "/api/v1/records"))[0] == 200
        before = resident(service.pid)
        for number in range(IDLE):
            idle.append(socket.create_connection(("127.0.0.1", port), 5))
            if number % 100 == 0:
                await asyncio.sleep(0)
        began = monotonic()
        assert (await client.request("GET", "/api/v1/records"))[0] == 200
        took = monotonic() - began
        each = (resident(service.pid) - before) / IDLE
    finally:
        for connection in idle:
            connection.close()
        assert await asyncio.to_thread(service.stop, signal.SIGTERM) == 0
    assert each < 8 * 1024
    record_property(
        "figure",
        f"{IDLE:,} idle clients, {each / 1024:.1f} KiB each; a request in {took * 1e3:.0f} ms",
    )


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_probes_are_answered_while_the_processors_are_busy(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=tmp_path / "log", APP_DATABASE_URL=migrated, APP_PORT=str(port),
        APP_ADMIN_PORT="0",
    )  # fmt: skip
    await service.start()
    hogs = [
        Popen(  # noqa: ASYNC220 - it is started at once
            [sys.executable, "-c", "while True: pass"], stdout=DEVNULL
        )
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    slowest = 0.0
    try:
        client = ApiClient(port, make_token("ada", *SCOPES))
        end = monotonic() + 3
        while monotonic() < end:
            for path in ("/health", "/ready"):
                began = monotonic()
                assert (await client.request("GET", path))[0] == 200
                slowest = max(slowest, monotonic() - began)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        assert await asyncio.to_thread(service.stop, signal.SIGTERM) == 0
    assert slowest < 1.5
    record_property(
        "figure", f"two busy processes a processor: slowest probe {slowest * 1e3:.0f} ms"
    )
