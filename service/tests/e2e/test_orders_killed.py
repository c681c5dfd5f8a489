"""The order test: orders while server, worker, PostgreSQL and NATS are killed again and again.

Afterwards every order that was accepted has reached exactly one final state, each paid one by one
transfer, the total is what it was, ``ledger verify`` is clean and nothing lies in the dead-letter
queue (``order_load.verify_orders``). Quick unless ORDERS_TEST=full (`make orders`): fewer orders and kills,
the same checks. ``test_replicas`` is the same with several of each, and with what is not a kill.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from order_load import OrderLoad, running_order_load, start_clients, verify_orders
from processes import crash_and_restart, durable_postgres, run_command, running_engine

from paceline.engines import NatsEngine
from paceline.testing import SilentLog

FULL = os.environ.get("ORDERS_TEST") == "full"
ORDERS, CLIENTS, KILLS_EACH = (20_000, 64, 3) if FULL else (600, 16, 1)
SETTLE = 180.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600 if FULL else 240)]


async def kill_all(orders: OrderLoad, victims: list[Callable[[], Awaitable[None]]]) -> None:
    """Kill one after the other, while the orders come in."""
    for number, kill in enumerate(victims, start=1):
        await orders.until_accepted(ORDERS * number // (len(victims) + 1))
        await kill()


async def test_every_accepted_order_reaches_one_final_state(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL runs under its own account
    postgres = durable_postgres(tmp_path / "db")
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    async with running_engine(postgres), running_engine(nats):
        assert run_command("migrate", "up", APP_DATABASE_URL=postgres.dsn()).returncode == 0
        async with running_order_load(tmp_path, postgres.dsn(), nats.url) as orders:
            (server,), (worker,) = orders.servers, orders.workers
            victims: list[Callable[[], Awaitable[None]]] = [
                server.kill_and_restart, worker.kill_and_restart, lambda: crash_and_restart(postgres), lambda: crash_and_restart(nats),
            ] * KILLS_EACH  # fmt: skip
            random.Random(3).shuffle(victims)  # noqa: S311 - a load, not a secret
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, CLIENTS, iter(range(ORDERS)))
                group.create_task(kill_all(orders, victims))
            await orders.until_decided(SETTLE)
        assert len(orders.accepted) == ORDERS
        counts = await verify_orders(orders)
        print(  # noqa: T201 - what `make orders` shows
            f"\n{counts}; server, worker, PostgreSQL and NATS killed {KILLS_EACH} times each"
        )
