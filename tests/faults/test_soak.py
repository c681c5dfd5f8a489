"""Mixed requests of both doors while servers, workers, PostgreSQL and NATS are killed at random.

Afterwards: each record, transfer and order that was acknowledged is there once, money adds up, no
dead letter, and the one server that is never killed has not grown. ``SOAK_SECONDS`` bounds it (20,
or 300 in the full form; `make soak-faults` takes an hour); ``SOAK_SEED`` repeats the order of kills,
which is printed with its seed.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest
import records_pb2_grpc
from grpc import aio
from order_load import OrderLoad, running_order_load, start_clients, verify_orders
from processes import (
    ApiClient,
    ServiceCommand,
    crash_and_restart,
    durable_postgres,
    fetch_rows,
    run_command,
    running_engine,
)

from myservice.proto.v1 import records_pb2 as pb
from myservice.scopes import SCOPES
from paceline.engines import NatsEngine
from paceline.testing import SilentLog, make_token

FULL = os.environ.get("FAULTS_TEST") == "full"
SECONDS = float(os.environ.get("SOAK_SECONDS", "300" if FULL else "20"))
SEED = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 32)))
HTTP_CLIENTS, GRPC_CLIENTS, ORDER_CLIENTS = 6, 4, 6
PATIENCE, SETTLE = 90.0, 180.0
MEBIBYTE = 1 << 20
GROWTH = 32 * MEBIBYTE
RETRYABLE = {409, 429, 500, 503, 504}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(SECONDS + 600)]
Record = Callable[[str, object], None]


@dataclass
class Soak:
    """The clients' state: what was acknowledged, by its name, which is its key, too."""

    orders: OrderLoad
    records: dict[str, str] = field(default_factory=dict[str, str])
    deleted: set[str] = field(default_factory=set[str])
    transfers: dict[str, str] = field(default_factory=dict[str, str])
    refused: int = 0
    requests: int = 0
    stopped: bool = False
    token: str = field(default_factory=lambda: make_token("orders", *SCOPES, expiry=86_400))

    async def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, key: str = ""
    ) -> tuple[int, dict[str, str]]:
        """Ask any server until one answers; a key makes that one effect."""
        deadline = monotonic() + PATIENCE
        while True:
            port = random.choice(self.orders.servers).port  # noqa: S311 - a load, not a secret
            with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, KeyError):
                status, answer = await ApiClient(port, self.token).request(method, path, body, key)
                self.requests += 1
                if status not in RETRYABLE or answer["type"].endswith("insufficient-balance"):
                    return status, answer
            assert monotonic() < deadline, f"{method} {path} is not answered"
            await asyncio.sleep(0.05)

    async def over_http(self, number: int) -> None:
        """Records and transfers, until stopped."""
        draw = random.Random(number)  # noqa: S311 - a load, not a secret
        count = 0
        while not self.stopped:
            name = f"http-{number}-{count}"
            status, made = await self.call("POST", "/api/v1/records", {"name": name}, name)
            assert status == 201, made
            self.records[name] = made["id"]
            status, _ = await self.call("GET", f"/api/v1/records/{made['id']}")
            assert status == 200
            if count % 3 == 0:
                status, _ = await self.call("DELETE", f"/api/v1/records/{made['id']}")
                assert status in {204, 404}  # 404 when the answer to the first one was lost
                self.deleted.add(name)
            status, _ = await self.call("GET", "/api/v1/records?limit=20")
            assert status == 200
            await self.transfer(draw, f"transfer-{number}-{count}")
            count += 1

    async def transfer(self, draw: random.Random, name: str) -> None:
        """Move an amount between two accounts."""
        one, other = draw.sample(self.orders.accounts, 2)
        body = {"from": one, "to": other, "amount": draw.randint(1, 500), "reference": name}
        status, answer = await self.call("POST", "/api/v1/transfers", body, name)
        if status == 201:
            self.transfers[name] = answer["id"]
        else:
            assert answer["type"].endswith("insufficient-balance"), answer
            self.refused += 1

    async def over_grpc(self, number: int) -> None:
        """Records, made and read, until stopped."""
        count = 0
        while not self.stopped:
            name = f"grpc-{number}-{count}"
            self.records[name] = await self.create_over_grpc(name)
            count += 1

    async def create_over_grpc(self, name: str) -> str:
        """Create a record and read it; returns its id."""
        deadline = monotonic() + PATIENCE
        metadata = (("authorization", f"Bearer {self.token}"),)
        made = ""
        while True:
            port = random.choice(self.orders.servers).grpc_port  # noqa: S311 - a load, not a secret
            try:
                async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    stub = records_pb2_grpc.RecordServiceStub(channel)
                    draft = pb.CreateRecordRequest(
                        record=pb.RecordDraft(name=name), idempotency_key=name
                    )
                    answer = await stub.CreateRecord(draft, metadata=metadata, timeout=20)
                    made = answer.record.id
                    read = pb.GetRecordRequest(id=made)
                    got = await stub.GetRecord(read, metadata=metadata, timeout=20)
                    self.requests += 2
                    assert got.record.name == name
                    return made
            except aio.AioRpcError as exc:
                if exc.code().name in {"NOT_FOUND", "INVALID_ARGUMENT"}:
                    raise
            assert monotonic() < deadline, f"{name} is not answered"
            await asyncio.sleep(0.05)


async def test_nothing_is_lost_doubled_or_grown(tmp_path: Path, record_property: Record) -> None:
    print(f"\nSOAK_SEED={SEED}", flush=True)  # noqa: T201 - it repeats the kills
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    postgres = durable_postgres(tmp_path / "db")
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    async with running_engine(postgres), running_engine(nats):
        assert run_command("migrate", "up", APP_DATABASE_URL=postgres.dsn()).returncode == 0
        async with running_order_load(
            tmp_path, postgres.dsn(), nats.url, servers=2, workers=2
        ) as orders:
            soak = Soak(orders)
            survivor, mortal = orders.servers
            victims: dict[str, Callable[[], Awaitable[None]]] = {
                "server": mortal.kill_and_restart,
                "worker": orders.workers[0].kill_and_restart,
                "other worker": orders.workers[1].kill_and_restart,
                "PostgreSQL": lambda: crash_and_restart(postgres),
                "NATS": lambda: crash_and_restart(nats),
            }
            killed: list[str] = []
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, ORDER_CLIENTS, orders.numbers_until_stopped())
                for number in range(HTTP_CLIENTS):
                    group.create_task(soak.over_http(number))
                for number in range(GRPC_CLIENTS):
                    group.create_task(soak.over_grpc(number))
                grown = await kill_at_random(soak, survivor, victims, killed)
                soak.stopped = orders.stopped = True
            await orders.until_decided(SETTLE)
        await verify(soak)
    counts = ", ".join(f"{killed.count(each)} × {each}" for each in victims)
    text = (
        f"{SECONDS:g} s, {soak.requests + len(orders.accepted):,} requests, killed {counts}:"
        f" nothing lost or doubled; the server that lived grew by {grown / MEBIBYTE:.0f} MiB"
    )
    print(text)  # noqa: T201 - what `make soak-faults` shows
    record_property("figure", text)
    assert grown < GROWTH


async def kill_at_random(
    soak: Soak,
    survivor: ServiceCommand,
    victims: Mapping[str, Callable[[], Awaitable[None]]],
    killed: list[str],
) -> int:
    """Kill something again and again; by how many bytes the survivor grew after a quarter."""
    draw = random.Random(SEED)  # noqa: S311 - a load, not a secret
    began, warm = monotonic(), 0
    while (passed := monotonic() - began) < SECONDS:
        victim = draw.choice([*victims])
        await asyncio.sleep(draw.uniform(0.5, 6.0))
        await victims[victim]()
        killed.append(victim)
        if FULL:
            print(f"{passed:6.0f} s  killed: {victim}; {soak.requests} requests", flush=True)  # noqa: T201
        if not warm and passed > SECONDS / 4:
            warm = resident(survivor.pid)
    return resident(survivor.pid) - warm if warm else 0


def resident(pid: int) -> int:
    """The memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def verify(soak: Soak) -> None:
    """Assert that everything acknowledged is there once."""
    dsn = soak.orders.dsn
    rows = await fetch_rows(dsn, "SELECT name, id::text FROM records")
    kept = {name: made for name, made in soak.records.items() if name not in soak.deleted}
    assert sorted((row["name"], row["id"]) for row in rows) == sorted(kept.items())
    moved = await fetch_rows(
        dsn, "SELECT reference, id::text FROM transfers WHERE reference LIKE 'transfer-%'"
    )
    assert sorted((row["reference"], row["id"]) for row in moved) == sorted(soak.transfers.items())
    await verify_orders(soak.orders, besides=soak.transfers.values())
