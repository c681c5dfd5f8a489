"""The order test: orders while server, worker, PostgreSQL and NATS are killed again and again.

Afterwards every order that was accepted has reached exactly one final state, each paid one by one
transfer, the total is what it was, ``ledger verify`` is clean and nothing lies in the dead-letter
queue. Quick unless ORDERS_TEST=full (`make orders`): fewer orders and kills, the same checks.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from killing import (
    Api,
    Command,
    durable_postgres,
    free_port,
    kill_engine,
    open_accounts,
    rows_of,
    run_command,
    running_engine,
    token_of,
)
from running import PATIENCE

from paceline.engines import NatsEngine
from paceline.testing.silent import SilentLog

FULL = os.environ.get("ORDERS_TEST") == "full"
ORDERS, CLIENTS, KILLS_EACH = (20_000, 64, 3) if FULL else (600, 16, 1)
ACCOUNTS, BALANCE = 20, 200_000
ACCEPTED = 202
SETTLE = 180.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600 if FULL else 240)]


@dataclass
class Shop:
    """What the clients know: which orders were accepted."""

    api: Api
    accounts: list[str]
    numbers: Iterator[int]
    accepted: dict[str, str] = field(default_factory=dict[str, str])  # reference to order
    sent_again: int = 0


async def client(shop: Shop, draw: random.Random) -> None:
    """Order at random; insist on an answer to each order."""
    for number in shop.numbers:
        one, other = draw.sample(shop.accounts, 2)
        body = {"from": one, "to": other, "amount": draw.randint(1, 5000), "reference": str(number)}
        shop.accepted[str(number)] = await insist(shop, body, f"order-{number}")


async def insist(shop: Shop, body: Mapping[str, object], key: str) -> str:
    """Send until the order is accepted; gives its id."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            status, answer = await shop.api.request("POST", "/api/v1/orders", body, key)
            if status == ACCEPTED:
                return answer["id"]
            assert status in {409, 429, 500, 503, 504}, (status, answer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        assert time.monotonic() < give_up, "nobody answers"
        shop.sent_again += 1
        await asyncio.sleep(0.02)


async def kill_all(shop: Shop, victims: list[Callable[[], Awaitable[None]]]) -> None:
    """Kill one after the other, while the orders come in."""
    for number, kill in enumerate(victims, start=1):
        give_up = time.monotonic() + PATIENCE
        while len(shop.accepted) < ORDERS * number // (len(victims) + 1):
            assert time.monotonic() < give_up, "no order is accepted any more"
            await asyncio.sleep(0.01)
        await kill()


async def until_decided(dsn: str) -> None:
    """Wait until no order is pending."""
    give_up = time.monotonic() + SETTLE
    while True:
        (row,) = await rows_of(dsn, "SELECT count(*) AS n FROM orders WHERE status = 'pending'")
        if row["n"] == 0:
            return
        assert time.monotonic() < give_up, f"{row['n']} orders are still pending"
        await asyncio.sleep(0.2)


async def test_every_accepted_order_reaches_one_final_state(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    postgres = durable_postgres(tmp_path / "db")
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    async with running_engine(postgres), running_engine(nats):
        dsn, port, admin = postgres.dsn(), free_port(), free_port()
        assert run_command("migrate", "up", APP_DATABASE_URL=dsn).returncode == 0
        accounts = await open_accounts(dsn, "shop", ACCOUNTS, BALANCE)
        api = Api(port, token_of("shop", "orders:write"))
        shop = Shop(api, accounts, iter(range(ORDERS)))
        engines = {"APP_DATABASE_URL": dsn, "APP_NATS_URL": nats.url}
        server = Command(
            "serve", port=port, log=tmp_path / "server.log", **engines,
            APP_PORT=str(port), APP_RATE_LIMIT="0", APP_GRPC_PORT="0",
        )  # fmt: skip
        worker = Command(
            "worker", port=admin, log=tmp_path / "worker.log", **engines,
            APP_ADMIN_PORT=str(admin),
        )  # fmt: skip
        victims: list[Callable[[], Awaitable[None]]] = [
            server.kill, worker.kill, lambda: kill_engine(postgres), lambda: kill_engine(nats),
        ] * KILLS_EACH  # fmt: skip
        draw = random.Random(3)  # noqa: S311 - a load, not a secret
        draw.shuffle(victims)
        try:
            await server.start()
            await worker.start()
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(client(shop, random.Random(number)))  # noqa: S311 - a load
                group.create_task(kill_all(shop, victims))
            await until_decided(dsn)
        finally:
            ends = [server.end(signal.SIGTERM), worker.end(signal.SIGTERM)]
        assert ends == [0, 0]
        await check(dsn, shop)
        verify = run_command("ledger", "verify", APP_DATABASE_URL=dsn)
        assert verify.returncode == 0, verify.stdout + verify.stderr
        dead = run_command("dead", "list", APP_NATS_URL=nats.url)
        assert dead.returncode == 0, dead.stderr
        assert dead.stdout == ""


async def check(dsn: str, shop: Shop) -> None:
    orders = await rows_of(dsn, "SELECT id::text, reference, status FROM orders")
    assert {row["reference"]: row["id"] for row in orders} == shop.accepted
    assert len(orders) == ORDERS
    paid = {row["id"] for row in orders if row["status"] == "paid"}
    refused = {row["id"] for row in orders if row["status"] == "refused"}
    assert len(paid) + len(refused) == ORDERS
    rows = await rows_of(dsn, "SELECT id::text FROM transfers WHERE from_id IS NOT NULL")
    assert {row["id"] for row in rows} == paid
    assert len(rows) == len(paid)
    (sums,) = await rows_of(dsn, "SELECT sum(balance) AS total FROM accounts")
    assert sums["total"] == ACCOUNTS * BALANCE
    print(  # noqa: T201 - what `make orders` shows
        f"\n{ORDERS} orders accepted, {len(paid)} paid, {len(refused)} refused, none left;"
        f" {shop.sent_again} requests sent again; server, worker, PostgreSQL and NATS killed"
        f" {KILLS_EACH} times each"
    )
