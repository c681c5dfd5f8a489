"""What any repository of orders must do: one suite for the fake and for real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from memory_accounts import MemoryAccounts
from memory_orders import MemoryOrders

from myservice.domain.accounts import MAX_AMOUNT, Account, AccountNotFound, NotTheOwner
from myservice.domain.ledger import Entry
from myservice.domain.orders import Order, OrderCreated, OrderNotFound, order_created
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from myservice.repository.orders import PgOrders
from myservice.service.accounts import AccountRepository, Ledger
from myservice.service.orders import OrderRepository, PaymentRequest, Placement
from paceline.errors import Code, Error
from paceline.idempotency import IdempotencyKey, KeyReused
from paceline.postgres import Pool, uuid7

NOW = datetime(2026, 11, 24, 5, 0, 0, 123456, UTC)
LATER = NOW + timedelta(seconds=1)
MISSING = UUID("0192f0a0-0000-7000-8000-00000000dead")


@dataclass
class Store:
    """Orders, and the accounts that pay them."""

    accounts: AccountRepository
    ledger: Ledger
    orders: OrderRepository
    events: Callable[[], Awaitable[Sequence[OrderCreated]]]

    async def open(self, balance: int = 0, owner: str = "ada") -> UUID:
        account = await self.accounts.insert(Account(uuid7(), owner, 0, NOW))
        if balance:
            await self.ledger.enter(Entry(uuid7(), None, account.id, balance, "", NOW))
        return account.id

    async def balances(self, *ids: UUID) -> list[int]:
        return [(await self.accounts.get(one)).balance for one in ids]

    async def pay(self, *orders: Order | UUID) -> Sequence[Exception | None]:
        """Pay orders, each by a message named after it."""
        ids = [each if isinstance(each, UUID) else each.id for each in orders]
        return await self.orders.pay_all([PaymentRequest(f"m-{one}", one) for one in ids], LATER)

    async def state(self, order: Order) -> tuple[str, str | None]:
        found = await self.orders.get(order.id)
        return found.status, found.reason


def placement(
    source: UUID,
    target: UUID,
    amount: int,
    *,
    debtor: str | None = "ada",
    key: IdempotencyKey | None = None,
) -> Placement:
    return Placement(Order(uuid7(), "ada", source, target, amount, "rent", NOW), debtor, key)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> Store:
    """Each implementation in turn."""
    if request.param == "memory":
        memory = MemoryAccounts()
        orders = MemoryOrders(memory)

        async def events_in_memory() -> Sequence[OrderCreated]:
            return orders.events

        return Store(memory, memory, orders, events_in_memory)
    pool: Pool = request.getfixturevalue("pool")

    async def events_in_outbox() -> Sequence[OrderCreated]:
        rows = await pool.fetch("SELECT data FROM outbox ORDER BY position")
        return [msgspec.json.decode(row["data"], type=OrderCreated) for row in rows]

    return Store(PgAccounts(pool), PgLedger(pool), PgOrders(pool), events_in_outbox)


async def test_an_order_is_got_back_as_it_was_placed(store: Store) -> None:
    wanted = placement(await store.open(), await store.open(), 30)
    placed = await store.orders.place(wanted)
    assert placed == wanted.order
    assert await store.orders.get(placed.id) == placed
    with pytest.raises(OrderNotFound):
        await store.orders.get(MISSING)


async def test_each_order_has_one_event(store: Store) -> None:
    a, b = await store.open(), await store.open()
    placed = [await store.orders.place(placement(a, b, amount)) for amount in (1, 2, 3)]
    assert await store.events() == [order_created(order) for order in placed]


async def test_what_could_never_be_paid_is_refused_when_placed_and_has_no_event(
    store: Store,
) -> None:
    a, b = await store.open(9), await store.open()
    refused = [
        (placement(a, MISSING, 1), AccountNotFound),
        (placement(MISSING, b, 1), AccountNotFound),
        (placement(MISSING, MISSING, 1), AccountNotFound),
        (placement(a, b, 1, debtor="bob"), NotTheOwner),
    ]
    for wanted, kind in refused:
        with pytest.raises(kind):
            await store.orders.place(wanted)
        with pytest.raises(OrderNotFound):
            await store.orders.get(wanted.order.id)
    assert await store.events() == []
    await store.orders.place(placement(a, b, 1, debtor=None))


async def test_a_paid_order_names_its_transfer_and_the_money_has_moved(store: Store) -> None:
    a, b = await store.open(100), await store.open()
    order = await store.orders.place(placement(a, b, 30))
    assert await store.pay(order) == [None]
    assert await store.orders.get(order.id) == msgspec.structs.replace(
        order, status="paid", transfer_id=order.id, decided_at=LATER
    )
    assert await store.balances(a, b) == [70, 30]


async def test_an_order_that_cannot_be_paid_is_refused_with_the_reason(store: Store) -> None:
    poor, full, b = await store.open(10), await store.open(MAX_AMOUNT), await store.open()
    first = await store.orders.place(placement(poor, b, 11))
    second = await store.orders.place(placement(poor, full, 1))
    assert await store.pay(first, second) == [None, None]
    assert await store.state(first) == ("refused", "insufficient-balance")
    assert await store.state(second) == ("refused", "balance-overflow")
    refused = await store.orders.get(first.id)
    assert (refused.transfer_id, refused.decided_at) == (None, LATER)
    assert await store.balances(poor, full, b) == [10, MAX_AMOUNT, 0]


async def test_a_batch_is_decided_in_the_order_of_its_messages(store: Store) -> None:
    a, b, c = await store.open(10), await store.open(), await store.open()
    wanted = [placement(b, c, 10), placement(a, b, 10), placement(b, c, 7), placement(a, c, 1)]
    orders = [await store.orders.place(each) for each in wanted]
    assert await store.pay(*orders) == [None] * 4
    assert [(await store.state(order))[0] for order in orders] == [
        "refused", "paid", "paid", "refused",
    ]  # fmt: skip
    assert await store.balances(a, b, c) == [0, 3, 7]


async def test_a_redelivered_message_has_no_second_effect(store: Store) -> None:
    a, b = await store.open(100), await store.open()
    orders = [await store.orders.place(placement(a, b, amount)) for amount in (1, 2)]
    for _ in range(3):
        assert await store.pay(*orders, orders[0]) == [None, None, None]
    assert await store.balances(a, b) == [97, 3]


async def test_another_message_about_a_decided_order_has_no_effect(store: Store) -> None:
    a, b = await store.open(5), await store.open()
    order = await store.orders.place(placement(a, b, 10))
    await store.pay(order)
    await store.ledger.enter(Entry(uuid7(), None, a, 100, "", NOW))
    twice = [PaymentRequest("other", order.id), PaymentRequest("another", order.id)]
    assert await store.orders.pay_all(twice, LATER) == [None, None]
    assert await store.state(order) == ("refused", "insufficient-balance")
    assert await store.balances(a, b) == [105, 0]


async def test_a_message_that_cannot_be_handled_affects_no_other_and_may_be_redelivered(
    store: Store,
) -> None:
    a, b = await store.open(100), await store.open()
    order = await store.orders.place(placement(a, b, 30))
    for _ in range(2):
        unknown, nameless, huge, fine = await store.orders.pay_all(
            [
                PaymentRequest("m-1", MISSING),
                PaymentRequest("", order.id),
                PaymentRequest("x" * 100_000, order.id),
                PaymentRequest("m-2", order.id),
            ],
            LATER,
        )
        assert isinstance(unknown, OrderNotFound)
        assert isinstance(nameless, Error)
        assert isinstance(huge, Error)
        assert nameless.code is huge.code is Code.INVALID_ARGUMENT
        assert fine is None
    assert await store.balances(a, b) == [70, 30]
    assert await store.pay() == []


async def test_a_key_makes_one_order_and_gives_the_first_answer_again(store: Store) -> None:
    a, b = await store.open(100), await store.open()
    key = IdempotencyKey("ada", "k1", b"digest")
    first = await store.orders.place(placement(a, b, 30, key=key))
    await store.pay(first)
    again = await store.orders.place(placement(a, b, 30, key=key))
    assert again == first
    with pytest.raises(KeyReused):
        await store.orders.place(placement(a, b, 31, key=IdempotencyKey("ada", "k1", b"other")))
    assert await store.events() == [order_created(first)]


async def test_a_key_whose_order_was_refused_at_the_door_stays_free(store: Store) -> None:
    a, b = await store.open(100), await store.open()
    with pytest.raises(AccountNotFound):
        await store.orders.place(placement(a, MISSING, 1, key=IdempotencyKey("ada", "k1", b"1")))
    await store.orders.place(placement(a, b, 1, key=IdempotencyKey("ada", "k1", b"2")))


async def test_keyed_plain_and_refused_orders_share_a_batch(store: Store) -> None:
    a, b = await store.open(100), await store.open()
    old = IdempotencyKey("ada", "old", b"1")
    first = await store.orders.place(placement(a, b, 1, key=old))
    results = await asyncio.gather(
        store.orders.place(placement(a, b, 2)),
        store.orders.place(placement(a, b, 1, key=old)),
        store.orders.place(placement(a, MISSING, 3)),
        store.orders.place(placement(a, b, 4, key=IdempotencyKey("ada", "new", b"3"))),
        return_exceptions=True,
    )
    assert results[1] == first
    assert isinstance(results[2], AccountNotFound)
    assert [event.amount for event in await store.events()] == [1, 2, 4]
