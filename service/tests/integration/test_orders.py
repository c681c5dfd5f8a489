"""Orders in PostgreSQL under competition: replicas, redelivery, cancellation, and the audit."""

import asyncio
import random
from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest
from funded_accounts import NOW, open_funded_accounts

from myservice.domain.ledger import (
    Entry,
    InsufficientBalance,
)
from myservice.domain.orders import CREATED_SUBJECT, Order, OrderCreated, OrderDraft
from myservice.domain.records import RecordDraft
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from myservice.repository.ledger_audit import PgLedgerAudit
from myservice.repository.orders import PgOrders
from myservice.repository.records import PgRecords
from myservice.service.accounts import Actor
from myservice.service.orders import OrderService, PaymentRequest, Placement
from myservice.service.records import RecordService
from myservice.worker.orders import OrderProcessor
from paceline.clock import SystemClock
from paceline.idempotency import IdempotencyKey, KeyInFlight, KeyReused
from paceline.messaging import Incoming, Message
from paceline.postgres import Pool, connect, uuid7
from paceline.postgres.inbox import INBOX_SCHEMA
from paceline.postgres.outbox import OUTBOX_SCHEMA, OutboxRelay
from paceline.testing import FakeQueue, RecordingLog, cancel_at_every_await, monitor_sessions

pytestmark = pytest.mark.integration

ADA = Actor("ada")


def placement(
    source: UUID, target: UUID, amount: int, key: IdempotencyKey | None = None
) -> Placement:
    return Placement(Order(uuid7(), "ada", source, target, amount, "", NOW), "ada", key)


def as_incoming(messages: Sequence[Message]) -> list[Incoming[OrderCreated]]:
    """The messages as a consumer passes them to its handler."""
    return [
        Incoming(each.id, each.subject, msgspec.json.decode(each.data, type=OrderCreated), 1)
        for each in messages
    ]


async def deadlocks(dsn: str) -> object:
    async with monitor_sessions(dsn) as monitor:
        return await monitor.deadlocks()


async def test_an_order_goes_through_outbox_queue_and_worker_and_is_paid(pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    queue = FakeQueue()
    relay = OutboxRelay(pool, queue, RecordingLog(), poll_interval=3600.0)
    orders = OrderService(PgOrders(pool, on_commit=relay.wake), SystemClock(), uuid7)
    await relay.start()
    placed = await orders.place_order(OrderDraft(a, b, 30, "rent"), ADA, None)
    await queue.until(lambda: len(queue.held) == 1)
    await relay.stop()
    (message,) = queue.held.values()
    assert (message.subject, message.key) == (CREATED_SUBJECT, str(placed.id))
    assert await OrderProcessor(orders).process(as_incoming([message])) == [None]
    found = await orders.get_order(placed.id, ADA)
    assert (found.status, found.transfer_id) == ("paid", placed.id)
    assert (await PgAccounts(pool).get(b)).balance == 130


async def test_two_workers_with_the_same_messages_at_once_pay_each_order_once(
    pool: Pool, other_pool: Pool, migrated: str
) -> None:
    ids = await open_funded_accounts(pool, 4, 1000)
    draw = random.Random(5)  # noqa: S311 - repeatable, on purpose
    workers = [PgOrders(pool), PgOrders(other_pool)]
    for _ in range(8):
        pairs = [draw.sample(ids, 2) for _ in range(40)]
        wanted = [placement(one, other, 1) for one, other in pairs]
        placed = await asyncio.gather(*map(workers[0].place, wanted))
        requests = [PaymentRequest(f"m-{order.id}", order.id) for order in placed]
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(
                workers[0].pay_all(requests, NOW),
                workers[1].pay_all([*reversed(requests)], NOW),
                workers[1].pay_all(draw.sample(requests, 30), NOW),
            )
        assert {outcome for each in outcomes for outcome in each} == {None}
    audit = await PgLedgerAudit(pool).run()
    assert (audit.faults, audit.total_balance, audit.entries) == ((), 4000, 4 + 8 * 40)
    assert await deadlocks(migrated) == 0


async def test_transfers_orders_payments_and_records_together_never_deadlock(
    pool: Pool, other_pool: Pool, migrated: str
) -> None:
    ids = await open_funded_accounts(pool, 3, 500)
    unpaid: list[PaymentRequest] = []

    async def client(pool: Pool, seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311 - repeatable, on purpose
        ledger, orders = PgLedger(pool), PgOrders(pool)
        records = RecordService(PgRecords(pool), SystemClock(), uuid7)
        record = await records.create_record(RecordDraft("r"))
        for turn in range(15):
            one, other = draw.sample(ids, 2)
            key = (
                IdempotencyKey("ada", f"{seed % 3}-{turn}", b"same")
                if draw.random() < 0.5
                else None
            )
            try:
                match draw.randrange(4):
                    case 0:
                        amount = draw.randint(1, 200)
                        await ledger.enter(Entry(uuid7(), one, other, amount, "", NOW, key=key))
                    case 1:
                        order = await orders.place(placement(one, other, draw.randint(1, 200), key))
                        unpaid.append(PaymentRequest(f"m-{order.id}", order.id))
                    case 2:
                        batch = draw.sample(unpaid, min(len(unpaid), 20))
                        assert set(await orders.pay_all(batch, NOW)) <= {None}
                    case _:
                        await records.replace_record(record.id, RecordDraft(f"r{turn}"), None)
            except (InsufficientBalance, KeyReused, KeyInFlight):
                continue

    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        for number in range(24):
            group.create_task(client((pool, other_pool)[number % 2], number))
    await PgOrders(pool).pay_all(unpaid, NOW)
    assert await pool.fetchval("SELECT count(*) FROM orders WHERE status = 'pending'") == 0
    audit = await PgLedgerAudit(pool).run()
    assert (audit.faults, audit.total_balance) == ((), 1500)
    assert await deadlocks(migrated) == 0


async def test_one_key_on_two_replicas_makes_one_order(pool: Pool, other_pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    key = IdempotencyKey("ada", "once", b"digest")
    first, second = await asyncio.gather(
        PgOrders(pool).place(placement(a, b, 10, key)),
        PgOrders(other_pool).place(placement(a, b, 10, key)),
    )
    assert first == second
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_a_second_request_with_a_key_in_flight_is_refused_at_once(pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    orders, key = PgOrders(pool), IdempotencyKey("ada", "once", b"digest")
    first, second = await asyncio.gather(
        orders.place(placement(a, b, 10, key)),
        orders.place(placement(a, b, 10, key)),
        return_exceptions=True,
    )
    assert isinstance(first, Order)
    assert isinstance(second, KeyInFlight)


async def test_placing_is_cancelled_anywhere_and_no_order_is_without_its_event(pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 1000)
    orders, key = PgOrders(pool), IdempotencyKey("ada", "cancelled", b"digest")

    async def work() -> None:
        await orders.place(placement(a, b, 10, key))
        await orders.place(placement(a, b, 1))

    async def check() -> None:
        await orders.place(placement(a, b, 10, key))
        without_event = await pool.fetchval(
            "SELECT count(*) FROM orders FULL JOIN outbox ON outbox.key = orders.id::text"
            " WHERE orders.id IS NULL OR outbox.id IS NULL"
        )
        assert without_event == 0

    assert await cancel_at_every_await(work, check) >= 2
    assert await pool.fetchval("SELECT count(*) FROM orders WHERE amount = 10") == 1


async def test_paying_is_cancelled_anywhere_and_a_redelivery_completes_it(pool: Pool) -> None:
    a, b = await open_funded_accounts(pool, 2, 1000)
    orders = PgOrders(pool)
    current = (await orders.place(placement(a, b, 1))).id
    paid = 0

    async def work() -> None:
        await orders.pay_all([PaymentRequest(f"m-{current}", current)], NOW)

    async def check() -> None:
        nonlocal current, paid
        assert (await PgLedgerAudit(pool).run()).faults == ()
        await work()
        paid += 1
        assert (await PgAccounts(pool).get(b)).balance == 1000 + paid
        current = (await orders.place(placement(a, b, 1))).id

    assert await cancel_at_every_await(work, check) >= 6
    assert (await PgLedgerAudit(pool).run()).faults == ()


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE orders SET status = 'refused', reason = 'x'", "is paid already"),
        ("DELETE FROM orders", "append-only"),
        ("TRUNCATE orders", "append-only"),
    ],
)
async def test_a_decision_cannot_be_changed(
    pool: Pool, migrated: str, statement: str, refusal: str
) -> None:
    a, b = await open_funded_accounts(pool, 2, 100)
    orders = PgOrders(pool)
    order = await orders.place(placement(a, b, 1))
    await orders.pay_all([PaymentRequest("m", order.id)], NOW)
    connection = await connect(migrated)
    try:
        with pytest.raises(Exception, match=refusal):
            await connection.execute(statement)
    finally:
        await connection.close()


async def schema_of(dsn: str) -> list[tuple[object, ...]]:
    """Columns, constraints, indexes and storage settings of the kit's two tables."""
    connection = await connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text,"
            " column_default::text, is_identity::text"
            " FROM information_schema.columns WHERE table_name IN ('outbox', 'inbox')"
            " UNION ALL SELECT tablename, indexdef, '', '', '', ''"
            " FROM pg_indexes WHERE tablename IN ('outbox', 'inbox')"
            " UNION ALL SELECT relname, reloptions::text, '', '', '', ''"
            " FROM pg_class WHERE relname IN ('outbox', 'inbox')"
            " ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def test_the_migration_makes_the_tables_that_the_kit_needs(
    migrated: str, database: str
) -> None:
    connection = await connect(database)
    await connection.execute(OUTBOX_SCHEMA)
    await connection.execute(INBOX_SCHEMA)
    await connection.close()
    assert await schema_of(migrated) == await schema_of(database)
