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
from myservice.domain.ledger import Entry, IdempotencyKey, KeyReused
from myservice.domain.orders import Order, OrderCreated, OrderNotFound, order_created
from myservice.repository.accounts import PgAccounts
from myservice.repository.ledger import PgLedger
from myservice.repository.orders import PgOrders
from myservice.service.accounts import AccountRepository, Ledger
from myservice.service.orders import OrderRepository, PaymentRequest, Placement
from paceline.errors import Code, Error
from paceline.postgres import Pool, uuid7

NOW = datetime(2026, 11, 24, 5, 0, 0, 123456, UTC)
LATER = NOW + timedelta(seconds=1)
MISSING = UUID("0192f0a0-0000-7000-8000-00000000dead")


@dataclass
class Shop:
    """Orders, and the bank that pays them."""

    accounts: AccountRepository
    ledger: Ledger
    orders: OrderRepository
    announced: Callable[[], Awaitable[Sequence[OrderCreated]]]

    async def open(self, balance: int = 0, owner: str = "ada") -> UUID:
        account = await self.accounts.insert(Account(uuid7(), owner, 0, NOW))
        if balance:
            await self.ledger.enter(Entry(uuid7(), None, account.id, balance, "", NOW))
        return account.id

    async def balances(self, *ids: UUID) -> list[int]:
        return [(await self.accounts.get(one)).balance for one in ids]

    async def pay(self, *orders: Order | UUID) -> Sequence[Exception | None]:
        """Each announced by a message named after it."""
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
def shop(request: pytest.FixtureRequest) -> Shop:
    """Each implementation in turn."""
    if request.param == "memory":
        memory = MemoryAccounts()
        orders = MemoryOrders(memory)

        async def listed() -> Sequence[OrderCreated]:
            return orders.announced

        return Shop(memory, memory, orders, listed)
    pool: Pool = request.getfixturevalue("pool")

    async def stored() -> Sequence[OrderCreated]:
        rows = await pool.fetch("SELECT data FROM outbox ORDER BY position")
        return [msgspec.json.decode(row["data"], type=OrderCreated) for row in rows]

    return Shop(PgAccounts(pool), PgLedger(pool), PgOrders(pool), stored)


async def test_an_order_is_got_back_as_it_was_placed(shop: Shop) -> None:
    wanted = placement(await shop.open(), await shop.open(), 30)
    placed = await shop.orders.place(wanted)
    assert placed == wanted.order
    assert await shop.orders.get(placed.id) == placed
    with pytest.raises(OrderNotFound):
        await shop.orders.get(MISSING)


async def test_each_order_is_announced_once(shop: Shop) -> None:
    a, b = await shop.open(), await shop.open()
    placed = [await shop.orders.place(placement(a, b, amount)) for amount in (1, 2, 3)]
    assert await shop.announced() == [order_created(order) for order in placed]


async def test_what_could_never_be_paid_is_refused_at_the_door_and_not_announced(
    shop: Shop,
) -> None:
    a, b = await shop.open(9), await shop.open()
    refused = [
        (placement(a, MISSING, 1), AccountNotFound),
        (placement(MISSING, b, 1), AccountNotFound),
        (placement(MISSING, MISSING, 1), AccountNotFound),
        (placement(a, b, 1, debtor="bob"), NotTheOwner),
    ]
    for wanted, kind in refused:
        with pytest.raises(kind):
            await shop.orders.place(wanted)
        with pytest.raises(OrderNotFound):
            await shop.orders.get(wanted.order.id)
    assert await shop.announced() == []
    await shop.orders.place(placement(a, b, 1, debtor=None))


async def test_a_paid_order_tells_its_transfer_and_the_money_has_moved(shop: Shop) -> None:
    a, b = await shop.open(100), await shop.open()
    order = await shop.orders.place(placement(a, b, 30))
    assert await shop.pay(order) == [None]
    assert await shop.orders.get(order.id) == msgspec.structs.replace(
        order, status="paid", transfer_id=order.id, decided_at=LATER
    )
    assert await shop.balances(a, b) == [70, 30]


async def test_an_order_that_cannot_be_paid_is_refused_with_the_reason(shop: Shop) -> None:
    poor, full, b = await shop.open(10), await shop.open(MAX_AMOUNT), await shop.open()
    first = await shop.orders.place(placement(poor, b, 11))
    second = await shop.orders.place(placement(poor, full, 1))
    assert await shop.pay(first, second) == [None, None]
    assert await shop.state(first) == ("refused", "insufficient-balance")
    assert await shop.state(second) == ("refused", "balance-overflow")
    told = await shop.orders.get(first.id)
    assert (told.transfer_id, told.decided_at) == (None, LATER)
    assert await shop.balances(poor, full, b) == [10, MAX_AMOUNT, 0]


async def test_a_batch_is_decided_in_the_order_of_its_messages(shop: Shop) -> None:
    a, b, c = await shop.open(10), await shop.open(), await shop.open()
    wanted = [placement(b, c, 10), placement(a, b, 10), placement(b, c, 7), placement(a, c, 1)]
    orders = [await shop.orders.place(each) for each in wanted]
    assert await shop.pay(*orders) == [None] * 4
    assert [(await shop.state(order))[0] for order in orders] == [
        "refused", "paid", "paid", "refused",
    ]  # fmt: skip
    assert await shop.balances(a, b, c) == [0, 3, 7]


async def test_a_redelivered_message_has_no_second_effect(shop: Shop) -> None:
    a, b = await shop.open(100), await shop.open()
    orders = [await shop.orders.place(placement(a, b, amount)) for amount in (1, 2)]
    for _ in range(3):
        assert await shop.pay(*orders, orders[0]) == [None, None, None]
    assert await shop.balances(a, b) == [97, 3]


async def test_another_message_about_a_decided_order_has_no_effect(shop: Shop) -> None:
    a, b = await shop.open(5), await shop.open()
    order = await shop.orders.place(placement(a, b, 10))
    await shop.pay(order)
    await shop.ledger.enter(Entry(uuid7(), None, a, 100, "", NOW))
    twice = [PaymentRequest("other", order.id), PaymentRequest("another", order.id)]
    assert await shop.orders.pay_all(twice, LATER) == [None, None]
    assert await shop.state(order) == ("refused", "insufficient-balance")
    assert await shop.balances(a, b) == [105, 0]


async def test_a_message_that_cannot_be_handled_harms_no_other_and_may_come_again(
    shop: Shop,
) -> None:
    a, b = await shop.open(100), await shop.open()
    order = await shop.orders.place(placement(a, b, 30))
    for _ in range(2):
        unknown, nameless, huge, fine = await shop.orders.pay_all(
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
    assert await shop.balances(a, b) == [70, 30]
    assert await shop.pay() == []


async def test_a_key_makes_one_order_and_gives_the_first_answer_again(shop: Shop) -> None:
    a, b = await shop.open(100), await shop.open()
    key = IdempotencyKey("ada", "k1", b"digest")
    first = await shop.orders.place(placement(a, b, 30, key=key))
    await shop.pay(first)
    again = await shop.orders.place(placement(a, b, 30, key=key))
    assert again == first
    with pytest.raises(KeyReused):
        await shop.orders.place(placement(a, b, 31, key=IdempotencyKey("ada", "k1", b"other")))
    assert await shop.announced() == [order_created(first)]


async def test_a_key_whose_order_was_refused_at_the_door_stays_free(shop: Shop) -> None:
    a, b = await shop.open(100), await shop.open()
    with pytest.raises(AccountNotFound):
        await shop.orders.place(placement(a, MISSING, 1, key=IdempotencyKey("ada", "k1", b"1")))
    await shop.orders.place(placement(a, b, 1, key=IdempotencyKey("ada", "k1", b"2")))


async def test_keyed_plain_and_refused_orders_share_a_batch(shop: Shop) -> None:
    a, b = await shop.open(100), await shop.open()
    old = IdempotencyKey("ada", "old", b"1")
    first = await shop.orders.place(placement(a, b, 1, key=old))
    results = await asyncio.gather(
        shop.orders.place(placement(a, b, 2)),
        shop.orders.place(placement(a, b, 1, key=old)),
        shop.orders.place(placement(a, MISSING, 3)),
        shop.orders.place(placement(a, b, 4, key=IdempotencyKey("ada", "new", b"3"))),
        return_exceptions=True,
    )
    assert results[1] == first
    assert isinstance(results[2], AccountNotFound)
    assert [event.amount for event in await shop.announced()] == [1, 2, 4]
