"""Several servers and workers, and what happens to them that is not a kill of theirs.

One of each leaves under load, and no client notices; one server of a NATS cluster is killed, and
the other two go on; PostgreSQL and NATS freeze, which closes no connection and answers nothing, and
afterwards all go on without a restart. Each time ``order_load.verify_orders`` checks, as in
``test_orders_killed``. Quick unless ORDERS_TEST=full (`make orders`): longer freezes, more kills.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from order_load import READY, UNREADY, OrderLoad, running_order_load, start_clients, verify_orders
from processes import crash, running_engine
from update_subscriber import UpdateSubscriber, create_records

from paceline.engines import NatsEngine, PostgresEngine
from paceline.log import setup_logging
from paceline.messaging.nats import JetStreamError, NatsBus, NatsBusSettings
from paceline.testing import SilentLog, frozen, nats_cluster

FULL = os.environ.get("ORDERS_TEST") == "full"
CLIENTS = 32 if FULL else 8
SOME = 1000 if FULL else 50  # orders between two events
KILLS = 3 if FULL else 1
FREEZE = 20.0 if FULL else 3.0
DRAIN = 2.0 if FULL else 1.0
REPLICAS = 2 if FULL else 1  # where one would do
SETTLE = 60.0
COPIES = 2  # beside the leader's own, on the other nodes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400 if FULL else 180)]


@asynccontextmanager
async def queue(folder: Path) -> AsyncGenerator[NatsEngine]:
    """A NATS of the test's own: the service's streams have fixed names."""
    nats = NatsEngine(SilentLog(), data_dir=folder / "nats", progress=lambda _: None)
    async with running_engine(nats):
        yield nats


async def test_a_server_and_a_worker_leave_under_load_and_no_client_notices(
    migrated: str, tmp_path: Path
) -> None:
    async with queue(tmp_path) as nats:
        async with running_order_load(
            tmp_path, migrated, nats.url, servers=2, workers=2, APP_DRAIN_DELAY=f"{DRAIN:g}s"
        ) as orders:
            orders.strict = True
            first, second = orders.servers
            # One follows the server that leaves and goes on at the other; one stays where it is.
            subscribers = [
                UpdateSubscriber([orders.client_of(first), orders.client_of(second)]),
                UpdateSubscriber([orders.client_of(second)]),
            ]
            async with asyncio.TaskGroup() as group:
                subscribing = [group.create_task(each.run()) for each in subscribers]
                await asyncio.gather(*(each.connected.wait() for each in subscribers))
                start_clients(orders, group, CLIENTS, orders.numbers_until_stopped())
                writing = group.create_task(create_records(orders))
                await orders.until_more(SOME)
                await leave(orders, group)
                await orders.until_more(SOME)
                orders.stopped = True
                created = await writing
                await asyncio.gather(*(each.until_received(created) for each in subscribers))
                for task in subscribing:
                    task.cancel()
            await orders.until_decided(SETTLE)
        for subscriber in subscribers:
            assert sorted(subscriber.received) == sorted(created)
        print(f"\n{await verify_orders(orders)}; {len(created)} records seen once")  # noqa: T201 - a figure


async def leave(orders: OrderLoad, group: asyncio.TaskGroup) -> None:
    """End a server and a worker as an orchestrator does: no new requests once it is not ready."""
    server, worker = orders.servers[0], orders.workers[0]
    server_leaves = group.create_task(server.terminate())
    worker_leaves = group.create_task(worker.terminate())
    await orders.until_ready_is(UNREADY, server, worker)
    # /ready fails first; meanwhile it still serves clients that have not noticed.
    await orders.until_more(1)
    assert not server_leaves.done()
    orders.targets = orders.servers[1:]
    assert await server_leaves == 0
    assert await worker_leaves == 0
    assert await orders.ready_status(server) == 0
    await orders.until_ready_is(READY, orders.servers[1], orders.workers[1])


class Placement(msgspec.Struct, frozen=True):
    """The leader of a stream, and the servers of its copies."""

    leader: str = ""
    replicas: list[dict[str, object]] = []


class Kept(msgspec.Struct, frozen=True):
    """How JetStream keeps a stream."""

    cluster: Placement


async def test_the_leader_of_the_queue_is_killed_under_load(migrated: str, tmp_path: Path) -> None:
    async with nats_cluster(tmp_path / "nats") as nodes:
        url = ",".join(node.url for node in nodes)
        async with running_order_load(
            tmp_path, migrated, url, servers=REPLICAS, workers=2, APP_NATS_REPLICAS=f"{len(nodes)}"
        ) as orders:
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, CLIENTS, orders.numbers_until_stopped())
                for kill in range(KILLS):
                    await orders.until_more(SOME)
                    victim = nodes[await leader_of(url)]
                    await crash(victim)
                    await orders.until_more(SOME)
                    if kill < KILLS - 1:
                        await victim.start()
                orders.stopped = True
            await orders.until_decided(SETTLE)
            await orders.until_ready_is(READY, *orders.servers, *orders.workers)
        print(f"\n{await verify_orders(orders)}; the leader killed {KILLS} times")  # noqa: T201 - a figure


async def leader_of(url: str) -> int:
    """Which node leads the stream of orders, once every stream has a leader and two copies.

    While its members change, a stream reports one more for a moment.
    """
    settings = NatsBusSettings(publish_timeout=SETTLE)
    bus = NatsBus(url, setup_logging("error"), name="test", settings=settings)
    await bus.start()
    try:
        async with asyncio.timeout(SETTLE):
            while True:
                with suppress(JetStreamError):  # a worker that has just begun makes them
                    kept = [
                        (await bus.call_api(f"STREAM.INFO.{name}", None, Kept)).cluster
                        for name in ("DEAD", "ORDERS_order-processor_failures", "ORDERS")
                    ]
                    if all(each.leader and len(each.replicas) == COPIES for each in kept):
                        return int(kept[-1].leader.removeprefix("node-")) - 1
                await asyncio.sleep(0.1)
    finally:
        await bus.stop()


async def test_postgres_and_the_queue_freeze_under_load(
    postgres: PostgresEngine, migrated: str, tmp_path: Path
) -> None:
    async with queue(tmp_path) as nats:
        async with running_order_load(
            tmp_path, migrated, nats.url, servers=REPLICAS, workers=REPLICAS
        ) as orders:
            everyone = [*orders.servers, *orders.workers]
            async with asyncio.TaskGroup() as group:
                start_clients(orders, group, CLIENTS, orders.numbers_until_stopped())
                await orders.until_more(SOME)
                with frozen(postgres):
                    await asyncio.gather(
                        orders.until_ready_is(UNREADY, *everyone), asyncio.sleep(FREEZE)
                    )
                await orders.until_ready_is(READY, *everyone)
                await orders.until_more(SOME)
                with frozen(nats):
                    # Only the workers are not ready; orders are accepted as before.
                    await asyncio.gather(
                        orders.until_ready_is(UNREADY, *orders.workers),
                        orders.until_more(SOME),
                        asyncio.sleep(FREEZE),
                    )
                    await orders.until_ready_is(READY, *orders.servers)
                await orders.until_ready_is(READY, *everyone)
                await orders.until_more(SOME)
                orders.stopped = True
            await orders.until_decided(SETTLE)
        print(f"\n{await verify_orders(orders)}; each frozen for {FREEZE:g} s")  # noqa: T201 - a figure
