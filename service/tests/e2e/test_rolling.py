"""A rolling restart, as a deployment does it: no request fails and no message is lost.

Two servers behind a load balancer that asks ``/ready``, two workers of orders; each in turn is told
to stop (SIGTERM), ends with exit code 0, and is started again, while clients go on, of which none
sends anything twice. gRPC's connections are sent elsewhere within the drain delay, because it is
longer than their age. Quick unless ROLLING_TEST=full (`make rolling`): several rounds, more
clients, and servers of two processes each.
"""

import asyncio
import os
from pathlib import Path

import pytest
from load_balancer import Backend, LoadBalancer, load_balancer
from order_load import READY, OrderLoad, running_order_load, start_clients, verify_orders
from processes import ServiceCommand, fetch_rows, running_engine
from steady_load import SteadyLoad, steady_load

from paceline.engines import NatsEngine
from paceline.testing import SilentLog

FULL = os.environ.get("ROLLING_TEST") == "full"
ROUNDS, CLIENTS, WORKERS = (5, 8, 2) if FULL else (1, 2, 1)
SOME = 10  # orders, and answers for each kind of client, between two events
SETTLE = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900 if FULL else 180)]


async def restart(command: ServiceCommand) -> None:
    """End it as an orchestrator does, and start its successor."""
    assert await command.terminate() == 0
    await command.start()


async def test_servers_and_workers_are_restarted_in_turn_and_no_request_fails(
    migrated: str, tmp_path: Path
) -> None:
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    settings = {
        "APP_DRAIN_DELAY": "2s",
        "APP_GRPC_CONNECTION_AGE": "1s",
        "APP_WORKERS": str(WORKERS),
    }
    async with running_engine(nats):
        async with running_order_load(
            tmp_path, migrated, nats.url, servers=2, workers=2, **settings
        ) as orders:
            orders.strict = True
            load = await rolled(orders)
            await orders.until_decided(SETTLE)
        counts = await verify_orders(orders)
    assert load.failures == []
    assert not orders.retried
    rows = await fetch_rows(migrated, "SELECT id::text FROM records")
    assert {row["id"] for row in rows} == {*load.created}
    served = f"{sum(load.answered.values())} other answers, slowest {load.slowest:.2f} s"
    print(f"\n{counts}; {served}; {ROUNDS} rounds")  # noqa: T201 - a figure


async def rolled(orders: OrderLoad) -> SteadyLoad:
    """Roll under load, behind balancers."""
    http = [Backend(server.port, server.port) for server in orders.servers]
    grpc = [Backend(server.port, server.grpc_port) for server in orders.servers]
    async with load_balancer(*http) as front, load_balancer(*grpc) as grpc_front:
        orders.targets = [front]
        load = SteadyLoad(lambda: front.port, grpc_front.port)
        async with steady_load(load, clients=CLIENTS), asyncio.TaskGroup() as group:
            start_clients(orders, group, CLIENTS, orders.numbers_until_stopped())
            for _ in range(ROUNDS):
                await roll(orders, load, [(front, http), (grpc_front, grpc)])
            orders.stopped = True
    assert (front.rejected, grpc_front.rejected) == (0, 0)
    return load


async def roll(
    orders: OrderLoad, load: SteadyLoad, fronts: list[tuple[LoadBalancer, list[Backend]]]
) -> None:
    """Restart each server and each worker, with load before, between and after."""
    for number, server in enumerate(orders.servers):
        await orders.until_more(SOME)
        await load.until_more(SOME)
        await restart(server)
        for front, backends in fronts:
            await front.until_ready(backends[number], ready=True)
    for worker in orders.workers:
        await orders.until_more(SOME)
        await restart(worker)
        await orders.until_ready_is(READY, worker)
    await orders.until_more(SOME)
