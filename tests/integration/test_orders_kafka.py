"""Orders over a real Kafka: the outbox relays to it, the worker's handler consumes from it."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from consuming import becomes, dead_letters
from funded_accounts import open_funded_accounts
from kafka_running import KafkaServer, running

from myservice.domain.orders import CREATED_SUBJECT, OrderCreated, OrderDraft
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger_audit import PgLedgerAudit
from myservice.repository.orders import PgOrders
from myservice.service.accounts import Actor
from myservice.service.orders import OrderService
from myservice.worker.orders import OrderProcessor
from paceline.clock import SystemClock
from paceline.errors import Code, Error
from paceline.messaging import ConsumerSettings, DeliveryPolicy, Incoming, Message
from paceline.messaging.kafka import KafkaBus, KafkaConsumer, KafkaSubscription, Topic
from paceline.postgres import Pool, uuid7
from paceline.postgres.outbox import OutboxRelay
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

ADA = Actor("ada")
GROUP = "order-processor"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    yield from running(Path(tmp_path_factory.mktemp("kafka")))


@pytest.fixture
async def bus(kafka: KafkaServer) -> AsyncGenerator[KafkaBus]:
    found = KafkaBus(kafka.servers, RecordingLog(), topics=[Topic(CREATED_SUBJECT, partitions=4)])
    await found.start()
    yield found
    await found.stop()


@asynccontextmanager
async def working(
    bus: KafkaBus, processor: OrderProcessor
) -> AsyncGenerator[KafkaConsumer[OrderCreated]]:
    consumer = KafkaConsumer(
        bus, processor.process, RecordingLog(), type=OrderCreated,
        subscription=KafkaSubscription((CREATED_SUBJECT,), GROUP),
        settings=ConsumerSettings(
            batch=8, heartbeat=0.5, policy=DeliveryPolicy(retry_delay=0.05)
        ),
    )  # fmt: skip
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


class Twice:
    """Publishes everything twice, as a relay does that died before it could note the answer."""

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        await self._bus.publish_all(messages)
        return await self._bus.publish_all(messages)


async def test_orders_that_come_twice_while_workers_come_and_go_are_paid_once(
    pool: Pool, bus: KafkaBus
) -> None:
    a, b = await open_funded_accounts(pool, 2, 1000)
    relay = OutboxRelay(pool, Twice(bus), RecordingLog(), poll_interval=0.05)
    orders = OrderService(PgOrders(pool, on_commit=relay.wake), SystemClock(), uuid7)
    processor = OrderProcessor(orders)

    async def left() -> int:
        found: int = await pool.fetchval("SELECT count(*) FROM orders WHERE status = 'pending'")
        return found

    async def place(count: int) -> None:
        for _ in range(count):
            await orders.place_order(OrderDraft(a, b, 1, ""), ADA, None)

    async def some_are_paid() -> bool:
        return await left() < 30

    async def all_are_paid() -> bool:
        return await left() == 0

    await relay.start()
    async with working(bus, processor):
        await place(30)
        async with working(bus, processor):
            await becomes(some_are_paid)
            await place(30)
        await place(30)
        await becomes(all_are_paid)
    await relay.stop()
    audit = await PgLedgerAudit(pool).run()
    assert (audit.faults, audit.total_balance) == ((), 2000)
    assert (await PgAccounts(pool).get(b)).balance == 1090


async def test_what_is_no_order_becomes_a_dead_letter(pool: Pool, bus: KafkaBus) -> None:
    orders = OrderService(PgOrders(pool), SystemClock(), uuid7)
    await bus.publish(Message(CREATED_SUBJECT, b"nonsense", "m1", headers={"trace": "t"}))
    async with working(bus, OrderProcessor(orders)) as consumer:

        async def dead_lettered() -> bool:
            return consumer.stats.dead_lettered == 1

        await becomes(dead_lettered)
    (letter,) = await dead_letters(bus.servers, GROUP)
    assert (letter.id, letter.kind, letter.subject) == ("m1", "undecodable", CREATED_SUBJECT)
    assert (letter.data, letter.headers) == (b"nonsense", {"trace": "t"})


async def test_a_handler_that_fails_is_given_the_order_again(pool: Pool, bus: KafkaBus) -> None:
    a, b = await open_funded_accounts(pool, 2, 10)
    relay = OutboxRelay(pool, bus, RecordingLog(), poll_interval=0.05)
    orders = OrderService(PgOrders(pool, on_commit=relay.wake), SystemClock(), uuid7)
    attempts: list[int] = []

    await relay.start()
    placed = await orders.place_order(OrderDraft(a, b, 5, ""), ADA, None)

    class Flaky(OrderProcessor):
        async def process(
            self, batch: Sequence[Incoming[OrderCreated]]
        ) -> Sequence[Exception | None]:
            # The topic may still hold orders of the tests before this one.
            attempts.extend(each.attempt for each in batch if each.value.id == placed.id)
            outcomes = await super().process([each for each in batch if each.attempt >= 3])
            done = iter(outcomes)
            failure = Error(Code.INTERNAL, "not yet")
            return [next(done) if each.attempt >= 3 else failure for each in batch]

    async with working(bus, Flaky(orders)):

        async def paid() -> bool:
            return (await orders.get_order(placed.id, ADA)).status == "paid"

        await becomes(paid)
    await relay.stop()
    assert attempts == [1, 2, 3]
