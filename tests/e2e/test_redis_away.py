"""Redis restarts and freezes under load: no request fails, no reader is misled, all is used again.

The whole service works on it: records are cached, the rate limits are shared. A restart empties it; a
freeze closes no connection and answers nothing. ``/ready`` stays 200, because no request
needs Redis. ``read_your_writes`` says what a reader may see. Quick unless ORDERS_TEST=full (`make
orders`).
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from order_load import READY, OrderLoad, running_order_load, start_clients, verify_orders
from processes import running_engine
from read_your_writes import ReadYourWritesLoad
from service_process import PATIENCE
from valkey import Valkey

from paceline.clock import SystemClock
from paceline.engines import NatsEngine
from paceline.redis import Redis
from paceline.testing import SilentLog

FULL = os.environ.get("ORDERS_TEST") == "full"
CLIENTS = 32 if FULL else 4
RECORDS = 16 if FULL else 4
SOME = 500 if FULL else 30  # orders, and changes, between two events
FREEZE = 20.0 if FULL else 3.0
OWED = 1.0  # seconds; a release that failed is tried again every quarter of one
CONSISTENT = 10.0  # seconds after an outage until everybody knows everything again
SETTLE = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400 if FULL else 180)]


@asynccontextmanager
async def running_with_redis(folder: Path, dsn: str) -> AsyncGenerator[tuple[OrderLoad, Valkey]]:
    """Two servers and a worker, a queue, and a Redis."""
    nats = NatsEngine(SilentLog(), data_dir=folder / "nats", progress=lambda _: None)
    with tempfile.TemporaryDirectory(prefix="valkey-") as short:  # a socket's path must be
        valkey = Valkey(Path(short))
        valkey.start()
        try:
            async with running_engine(nats), running_order_load(
                folder, dsn, nats.url, servers=2, workers=1, APP_REDIS_URL=valkey.url,
                APP_REDIS_TIMEOUT="500ms", APP_CACHE="true", APP_RATE_LIMIT_SHARED="true",
                APP_RATE_LIMIT="1000000",
            ) as orders:  # fmt: skip
                yield orders, valkey
        finally:
            valkey.stop()


async def stay_ready(orders: OrderLoad, records: ReadYourWritesLoad) -> None:
    """Everybody is ready all the time."""
    while not records.stopped:
        for command in (*orders.servers, *orders.workers):
            assert await orders.ready_status(command) == READY
        await asyncio.sleep(0.1)


async def until_all_are_back(folder: Path) -> None:
    """Wait until every server uses Redis again and has sent its pending invalidations.

    Until then one of them may read what another has changed without being able to say so.
    """
    async with asyncio.timeout(PATIENCE):
        for log in sorted(await asyncio.to_thread(lambda: [*folder.glob("serve-*.log")])):
            while True:
                text = await asyncio.to_thread(log.read_text)
                if text.rfind("redis is available again") >= text.rfind("redis is unavailable"):
                    break
                await asyncio.sleep(0.05)
    await asyncio.sleep(OWED)  # nothing signals it


async def until_used(valkey: Valkey) -> None:
    """Wait until the service keeps records and rates in it, once it is emptied."""
    server = Redis(valkey.url, SilentLog(), SystemClock(), timeout=5.0)
    await server.start()
    try:
        async with asyncio.timeout(PATIENCE):
            await server.execute(["FLUSHALL"])
            for keys in ("records:*", "limit:*"):
                while not await server.execute(["KEYS", keys]):  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(0.02)
    finally:
        await server.stop()


async def test_redis_restarts_and_freezes_under_load(migrated: str, tmp_path: Path) -> None:
    async with running_with_redis(tmp_path, migrated) as (orders, valkey):
        orders.strict = True
        records = ReadYourWritesLoad([orders.client_of(server) for server in orders.servers])
        await records.create_records(RECORDS)

        async def more() -> None:
            await asyncio.gather(orders.until_more(SOME), records.until_more(SOME))

        async with asyncio.TaskGroup() as group:
            start_clients(orders, group, CLIENTS, orders.numbers_until_stopped())
            records.start_clients(group)
            group.create_task(stay_ready(orders, records))
            await more()
            await until_used(valkey)

            records.consistent = False
            await asyncio.to_thread(valkey.restart)
            await until_all_are_back(tmp_path)
            await records.until_consistent(CONSISTENT)
            records.consistent = True
            await until_used(valkey)
            await more()

            records.consistent = False
            with valkey.frozen():
                await asyncio.gather(more(), asyncio.sleep(FREEZE))
            await until_all_are_back(tmp_path)
            await records.until_consistent(CONSISTENT)
            records.consistent = True
            await until_used(valkey)
            await more()
            orders.stopped = records.stopped = True
        await orders.until_decided(SETTLE)
        print(  # noqa: T201 - a figure
            f"\n{await verify_orders(orders)}; {records.changes} changes, {records.reads} reads, none failed;"
            f" Redis restarted, and frozen for {FREEZE:g} s"
        )
