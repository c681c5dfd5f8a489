"""Orders while the table that they need is locked: nothing that waited for it is given up."""

import asyncio

import pytest
from funded_accounts import open_funded_accounts
from memory_source import MemorySource

from myservice.domain.orders import OrderCreated, OrderDraft
from myservice.repository.accounts import PgAccounts
from myservice.repository.orders import PgOrders
from myservice.service.accounts import Actor
from myservice.service.orders import OrderService
from myservice.worker.orders import OrderProcessor
from paceline.clock import SystemClock
from paceline.errors import Error
from paceline.messaging import Consumer, ConsumerSettings, DeliveryPolicy
from paceline.postgres import Pool, PoolSettings, connect, uuid7
from paceline.postgres.outbox import OutboxRelay
from paceline.testing import FakeQueue, RecordingLog

pytestmark = pytest.mark.integration


async def test_orders_wait_for_a_locked_table_and_none_is_buried(pool: Pool, migrated: str) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    queue, source = FakeQueue(), MemorySource()
    relay = OutboxRelay(pool, queue, RecordingLog(), poll_interval=3600.0)
    placing = OrderService(PgOrders(pool, on_commit=relay.wake), SystemClock(), uuid7)
    placed = [await placing.place_order(OrderDraft(a, b, 1, ""), Actor("ada"), None) for _ in "123"]
    await relay.start()
    await queue.until(lambda: len(queue.held) == len(placed))
    await relay.stop()
    impatient = Pool(migrated, PoolSettings(min_size=1, max_size=2, command_timeout=0.1))
    await impatient.start()
    orders = OrderService(PgOrders(impatient), SystemClock(), uuid7)
    consumer = Consumer(
        source, OrderProcessor(orders).process, RecordingLog(), type=OrderCreated,
        settings=ConsumerSettings(policy=DeliveryPolicy(max_attempts=5, retry_delay=0.01)),
    )  # fmt: skip
    holder = await connect(migrated)
    async with holder.transaction():
        await holder.execute("LOCK TABLE accounts IN EXCLUSIVE MODE")
        for message in queue.held.values():
            await source.publish(message)
        await consumer.start()
        async with asyncio.timeout(20):
            while consumer.stats.calls < 7:  # noqa: ASYNC110 - what counts them sets no event
                await asyncio.sleep(0.01)
        with pytest.raises(Error, match="cannot handle"):
            await consumer.ready()
    await holder.close()
    async with asyncio.timeout(20):
        while consumer.stats.acknowledged < len(placed):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    await consumer.ready()
    await consumer.stop()
    await impatient.stop()
    assert source.dead == []
    assert (await PgAccounts(pool).get(b)).balance == 103
