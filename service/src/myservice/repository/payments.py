"""Payments of orders: a batch is one transaction and one commit.

It locks the orders, claims the messages in the inbox, applies the payments to the ledger, and
writes the decisions; so an order is paid and decided and its message claimed, or none of it. Three
things prevent a second effect of a second delivery, each by itself: the inbox, the order's status
under its lock, and the payment's id, which is the order's. A message is claimed only when its order
exists, because a claim is permanent. All transactions of the service lock in this order: orders by
id, then the idempotency keys of new orders, then inbox ids, then the idempotency keys of the
ledger, then accounts by id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from myservice.domain.ledger import Entry
from myservice.domain.orders import Decision, OrderNotFound, decide
from myservice.repository.ledger import enter_all
from myservice.service.orders import PaymentRequest
from paceline.errors import Code, Error
from paceline.postgres import Connection, Row
from paceline.postgres.inbox import claim, claimable

CONSUMER: Final = "order-processor"
"""The name of the consumer, in the inbox and in the queue."""

_LOCK: Final[LiteralString] = """
    SELECT id, debtor, from_id, to_id, amount, reference, status FROM orders
    WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_DECIDE: Final[LiteralString] = """
    UPDATE orders SET status = new.status, reason = new.reason, decided_at = new.decided_at
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
        AS new (id, status, reason, decided_at)
    WHERE orders.id = new.id
"""


async def pay_all(
    tx: Connection, requests: Sequence[PaymentRequest], at: datetime
) -> Sequence[Exception | None]:
    """Decide the pending orders; see ``OrderRepository.pay_all``."""
    rows = await tx.fetch(_LOCK, [*{each.order_id for each in requests}])
    orders = {row["id"]: row for row in rows}
    outcomes = [_error(each, orders) for each in requests]
    valid = [each for each, error in zip(requests, outcomes, strict=True) if error is None]
    new = await claim(tx, CONSUMER, [each.message_id for each in valid])
    entries: dict[UUID, Entry] = {}
    for each in valid:
        row = orders[each.order_id]
        if each.message_id in new and row["status"] == "pending":
            entries.setdefault(row["id"], _payment(row, at))
    if entries:
        results = await enter_all(tx, [*entries.values()])
        await _decide(tx, [decide(*pair) for pair in zip(entries.values(), results, strict=True)])
    return outcomes


def _payment(row: Row, at: datetime) -> Entry:
    return Entry(
        row["id"], row["from_id"], row["to_id"], row["amount"], row["reference"], at,
        debtor=row["debtor"],
    )  # fmt: skip


def _error(request: PaymentRequest, orders: Mapping[UUID, Row]) -> Exception | None:
    if not claimable(request.message_id):
        return Error(Code.INVALID_ARGUMENT, "the inbox cannot store the id of this message")
    if request.order_id not in orders:
        return OrderNotFound(f"there is no order {request.order_id}")
    return None


async def _decide(tx: Connection, decisions: Sequence[Decision]) -> None:
    await tx.execute(
        _DECIDE,
        [decision.order_id for decision in decisions],
        [decision.status for decision in decisions],
        [decision.reason for decision in decisions],
        [decision.at for decision in decisions],
    )
