"""The worker's handler on the fake: one outcome for each message, whatever the batch holds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from memory_accounts import MemoryAccounts
from memory_orders import MemoryOrders

from myservice.domain.accounts import Account
from myservice.domain.ledger import Entry, InsufficientBalance, Transfer
from myservice.domain.orders import CREATED_SUBJECT, OrderCreated, OrderDraft, OrderNotFound, decide
from myservice.service.accounts import Actor
from myservice.service.orders import OrderService, PaymentRequest
from myservice.worker.orders import OrderProcessor
from paceline.clock import SystemClock
from paceline.errors import Code, Error
from paceline.messaging import Incoming
from paceline.postgres import uuid7

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ADA = Actor("ada")


def incoming(
    event: OrderCreated, name: str, subject: str = CREATED_SUBJECT
) -> Incoming[OrderCreated]:
    return Incoming(name, subject, event, 1)


async def test_each_message_has_its_own_outcome_in_its_place() -> None:
    accounts = MemoryAccounts()
    orders = MemoryOrders(accounts)
    service = OrderService(orders, SystemClock(), uuid7)
    a, b = uuid7(), uuid7()
    for one in (a, b):
        await accounts.insert(Account(one, "ada", 10, NOW))
    placed = [await service.place_order(OrderDraft(a, b, n), ADA, None) for n in (4, 20)]
    paid, refused = orders.announced
    unknown = OrderCreated(uuid7(), a, b, 1, "", NOW)
    outcomes = await OrderProcessor(service).process(
        [
            incoming(paid, "1", "orders.elsewhere"),
            incoming(paid, "2"),
            incoming(unknown, "3"),
            incoming(refused, "4"),
            incoming(paid, "2"),
        ]
    )
    foreign, *others = outcomes
    assert isinstance(foreign, Error)
    assert foreign.code is Code.INVALID_ARGUMENT
    assert [type(outcome) for outcome in others] == [
        type(None),
        OrderNotFound,
        type(None),
        type(None),
    ]
    states = [(await service.get_order(order.id, ADA)).status for order in placed]
    assert states == ["paid", "refused"]
    assert (await accounts.get(a)).balance == 6
    assert await OrderProcessor(service).process([]) == []


async def test_what_goes_wrong_with_a_batch_is_raised() -> None:
    class Away(MemoryOrders):
        async def pay_all(
            self, announcements: Sequence[PaymentRequest], at: datetime
        ) -> Sequence[Exception | None]:
            raise Error(Code.UNAVAILABLE, "the database is not available")

    service = OrderService(Away(MemoryAccounts()), SystemClock(), uuid7)
    event = OrderCreated(uuid7(), uuid7(), uuid7(), 1, "", NOW)
    with pytest.raises(Error) as caught:
        await OrderProcessor(service).process([incoming(event, "1")])
    assert caught.value.code is Code.UNAVAILABLE
    assert "service.pay_orders(1 events)" in caught.value.__notes__


def test_only_a_refusal_of_the_ledger_decides_an_order() -> None:
    order_id = UUID("0192f0a0-0000-7000-8000-000000000001")
    entry = Entry(order_id, uuid7(), uuid7(), 5, "", NOW)
    made = Transfer(order_id, entry.from_id, entry.to_id, 5, "", 0, 5, NOW)
    assert (decide(entry, made).status, decide(entry, made).reason) == ("paid", None)
    assert decide(entry, InsufficientBalance()).reason == "insufficient-balance"
    with pytest.raises(Error, match="database"):
        decide(entry, Error(Code.UNAVAILABLE, "the database is not available"))
