"""Clocks that are wrong, or jump, and a process that sleeps: nothing is lost, and nothing fails for long.

Clocks are moved by libfaketime (Debian: faketime), which leaves the monotonic clock alone, as setting
a machine's clock does.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from time import monotonic, time
from typing import cast

import pytest
from order_load import OrderLoad, running_order_load, start_clients, verify_orders
from own_programs import own_programs
from processes import ApiClient, ServiceCommand, free_port, run_command, running_engine

from myservice.scopes import SCOPES
from paceline.engines import NatsEngine, PostgresEngine
from paceline.testing import ManualClock, SilentLog, make_token

FULL = os.environ.get("FAULTS_TEST") == "full"
HOUR = 3600.0
NAP = 60.0 if FULL else 8.0
SETTLE, PATIENCE, ORDERS = 60.0, 60.0, 60
LIBRARIES = [Path(f"/usr/lib/{each}/faketime/libfaketime.so.1")
             for each in ("x86_64-linux-gnu", "aarch64-linux-gnu")]  # fmt: skip

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
Record = Callable[[str, object], None]


class WrongClock:
    """The clock of programs that run with its variables; it may be set while they run."""

    def __init__(self, folder: Path) -> None:
        found = [library for library in LIBRARIES if library.exists()]
        if not found:
            pytest.skip("needs libfaketime (Debian: faketime)")
        self._file = folder / "clock"
        self.set(0)
        self.variables: Mapping[str, str] = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    @property
    def prefix(self) -> Sequence[str]:
        """Put before a command, it runs by this clock."""
        return ("env", *(f"{name}={value}" for name, value in self.variables.items()))

    def set(self, seconds: float) -> None:
        """Let it be so far ahead of the real one."""
        self._file.write_text(f"{seconds:+.0f}\n")
        self._file.chmod(0o644)


@pytest.fixture
def public_folder() -> Generator[Path]:
    """A folder that the account of PostgreSQL can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def worker_by(clock: WrongClock, orders: OrderLoad, folder: Path) -> ServiceCommand:
    port = free_port()
    return ServiceCommand(
        "worker", port=port, log=folder / "worker.log", prefix=clock.prefix,
        APP_DATABASE_URL=orders.dsn, APP_NATS_URL=orders.nats_url, APP_ADMIN_PORT=str(port),
    )  # fmt: skip


async def test_orders_are_paid_once_by_a_worker_whose_clock_jumps_by_an_hour(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    clock = WrongClock(tmp_path)
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    async with running_engine(nats):
        async with running_order_load(tmp_path, migrated, nats.url, workers=0) as orders:
            worker = worker_by(clock, orders, tmp_path)
            await worker.start()
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, 4, orders.numbers_until_stopped())
                for jump in (HOUR, -HOUR, 0):
                    await orders.until_more(ORDERS)
                    clock.set(jump)
                await orders.until_more(ORDERS)
                orders.stopped = True
            await orders.until_decided(SETTLE)
            assert await worker.terminate() == 0
        record_property("figure", await verify_orders(orders))


async def test_a_server_whose_clock_is_set_judges_tokens_by_it_and_serves_on(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    clock = WrongClock(tmp_path)
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=tmp_path / "log", prefix=clock.prefix,
        APP_DATABASE_URL=migrated, APP_PORT=str(port), APP_ADMIN_PORT="0",
    )  # fmt: skip
    await service.start()
    now = time()
    # Issued two hours ago for four: good by each of the clocks.
    good = ApiClient(port, token_of(now - 2 * HOUR, 4 * HOUR))
    young = ApiClient(port, token_of(now, HOUR / 2))
    try:
        made: list[str] = []
        for jump, expected in ((0.0, 200), (HOUR, 401), (-HOUR, 401), (0.0, 200)):
            clock.set(jump)
            for _ in range(20):
                status, answer = await good.request("POST", "/api/v1/records", {"name": "a"})
                assert status == 201
                made.append(answer["id"])
            status, answer = await young.request("GET", "/api/v1/records?limit=1")
            assert status == expected, (jump, answer)
            if status == 401:
                assert answer["detail"] in {
                    "the token expired",
                    "the token was issued in the future",
                }
            assert (await good.request("GET", "/ready"))[0] == 200
        assert sorted(made) == sorted(await listed(good))
    finally:
        assert service.stop(signal.SIGTERM) == 0
    record_property("figure", f"{len(made)} records made across three jumps, each listed once")


def token_of(issued: float, expiry: float) -> str:
    return make_token("ada", *SCOPES, expiry=expiry, clock=ManualClock(issued))


async def listed(client: ApiClient) -> list[str]:
    """The ids of all records, page by page."""
    found: list[str] = []
    query = "?limit=7"
    while True:
        status, page = await client.request("GET", f"/api/v1/records{query}")
        assert status == 200, page
        found += [str(record["id"]) for record in cast("list[dict[str, object]]", page["records"])]
        if not page.get("next_cursor"):
            return found
        query = f"?limit=7&cursor={page['next_cursor']}"


async def test_the_outbox_flows_when_the_clock_of_postgresql_goes_back(
    public_folder: Path, tmp_path: Path, record_property: Record
) -> None:
    clock = WrongClock(public_folder)
    programs = own_programs(public_folder / "programs")
    let_run_by(clock, programs.folder)
    postgres = PostgresEngine(
        SilentLog(), data_dir=public_folder / "db", progress=lambda _: None, programs=programs
    )
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    async with running_engine(postgres), running_engine(nats):
        assert run_command("migrate", "up", APP_DATABASE_URL=postgres.dsn()).returncode == 0
        async with running_order_load(tmp_path, postgres.dsn(), nats.url) as orders:
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, 4, orders.numbers_until_stopped())
                for jump in (-HOUR, HOUR, -HOUR):
                    await orders.until_more(ORDERS)
                    clock.set(jump)
                await orders.until_more(ORDERS)
                orders.stopped = True
            await orders.until_decided(SETTLE)
        record_property("figure", await verify_orders(orders))


def let_run_by(clock: WrongClock, programs: Path) -> None:
    """Let the server among the programs run by the clock."""
    server = programs / "postgres"
    server.rename(programs / "postgres.real")
    words = " ".join(f"{name}={value}" for name, value in clock.variables.items())
    server.write_text(f'#!/bin/sh\nexec env {words} "$0.real" "$@"\n')
    server.chmod(0o755)


async def test_a_server_that_slept_serves_at_once_when_it_wakes(
    migrated: str, tmp_path: Path, record_property: Record
) -> None:
    port = free_port()
    service = ServiceCommand(
        "serve", port=port, log=tmp_path / "log",
        APP_DATABASE_URL=migrated, APP_PORT=str(port), APP_ADMIN_PORT="0", APP_RATE_LIMIT="0",
    )  # fmt: skip
    await service.start()
    client = ApiClient(port, make_token("ada", *SCOPES))
    statuses: list[int] = []
    asleep = False
    stopped = asyncio.Event()
    caught: list[int] = []

    async def call() -> None:
        while not stopped.is_set():
            during = asleep
            try:
                async with asyncio.timeout(NAP + PATIENCE):
                    status, _ = await client.request("GET", "/api/v1/records?limit=5")
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                status = 0
            (caught if during or asleep else statuses).append(status)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(call())
            await asyncio.sleep(0.5)
            asleep = True
            service.send_signal(signal.SIGSTOP)
            await asyncio.sleep(NAP)
            service.send_signal(signal.SIGCONT)
            woke = monotonic()
            while (await client.request("GET", "/ready"))[0] != 200:
                assert monotonic() < woke + PATIENCE
            ready = monotonic() - woke
            asleep = False
            before = len(statuses)
            while len(statuses) < before + 500:  # noqa: ASYNC110 - a list has no event
                await asyncio.sleep(0.05)
            stopped.set()
    finally:
        assert service.stop(signal.SIGTERM) == 0
    assert {*statuses} == {200}
    assert ready < 5.0
    record_property(
        "figure",
        f"asleep for {NAP:g} s: ready after {ready:.2f} s, 500 requests answered, none failed;"
        f" of {len(caught)} that waited {sum(each != 200 for each in caught)} failed",
    )
