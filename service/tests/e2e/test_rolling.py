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
from load_balancer import Backend, Balancer, balancing
from order_load import READY, Shop, check, load_of, running_shop
from processes import Command, rows_of, running_engine
from steady_load import SteadyLoad, steady_load

from paceline.engines import NatsEngine
from paceline.testing import SilentLog

FULL = os.environ.get("ROLLING_TEST") == "full"
ROUNDS, CLIENTS, WORKERS = (5, 8, 2) if FULL else (1, 2, 1)
SOME = 10  # orders, and answers for each kind of client, between two events
SETTLE = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900 if FULL else 180)]


async def restart(command: Command) -> None:
    """End it as an orchestrator does, and start its successor."""
    assert await command.leave() == 0
    await command.start()


async def test_servers_and_workers_are_restarted_in_turn_and_nobody_notices(
    migrated: str, tmp_path: Path
) -> None:
    nats = NatsEngine(SilentLog(), data_dir=tmp_path / "nats", progress=lambda _: None)
    settings = {
        "APP_DRAIN_DELAY": "2s",
        "APP_GRPC_CONNECTION_AGE": "1s",
        "APP_WORKERS": str(WORKERS),
    }
    async with running_engine(nats):
        async with running_shop(
            tmp_path, migrated, nats.url, servers=2, workers=2, **settings
        ) as shop:
            shop.strict = True
            load = await rolled(shop)
            await shop.until_decided(SETTLE)
        counts = await check(shop)
    assert load.failures == []
    assert shop.sent_again == 0
    rows = await rows_of(migrated, "SELECT id::text FROM records")
    assert {row["id"] for row in rows} == {*load.created}
    served = f"{sum(load.answered.values())} other answers, slowest {load.slowest:.2f} s"
    print(f"\n{counts}; {served}; {ROUNDS} rounds")  # noqa: T201 - a figure


async def rolled(shop: Shop) -> SteadyLoad:
    """Roll under load, behind balancers."""
    http = [Backend(server.port, server.port) for server in shop.servers]
    grpc = [Backend(server.port, server.grpc_port) for server in shop.servers]
    async with balancing(*http) as front, balancing(*grpc) as grpc_front:
        shop.open = [front]
        load = SteadyLoad(lambda: front.port, grpc_front.port)
        async with steady_load(load, clients=CLIENTS), asyncio.TaskGroup() as group:
            load_of(shop, group, CLIENTS, shop.until_closed())
            for _ in range(ROUNDS):
                await roll(shop, load, [(front, http), (grpc_front, grpc)])
            shop.closed = True
    assert (front.lost, grpc_front.lost) == (0, 0)
    return load


async def roll(shop: Shop, load: SteadyLoad, fronts: list[tuple[Balancer, list[Backend]]]) -> None:
    """Restart each server and each worker, with load before, between and after."""
    for number, server in enumerate(shop.servers):
        await shop.until_more(SOME)
        await load.until_more(SOME)
        await restart(server)
        for front, backends in fronts:
            await front.until_ready(backends[number], ready=True)
    for worker in shop.workers:
        await shop.until_more(SOME)
        await restart(worker)
        await shop.until_ready_is(READY, worker)
    await shop.until_more(SOME)
