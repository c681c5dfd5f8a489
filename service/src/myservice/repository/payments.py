"""Announced orders are paid: a batch is one transaction and one commit.

It locks the orders, claims the messages (``paceline.postgres.inbox``), has the ledger enter the
payments, and writes what became of the orders; so an order is paid, decided and its message used
up, or none of it. Three things keep a second delivery from a second effect, each enough by itself:
the inbox, the order's status under its lock, and the payment's id, which is the order's. A message
is claimed once its order is known to exist, since a claim is for good. Used by ``orders``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from myservice.domain.ledger import Entry
from myservice.domain.orders import Decision, OrderNotFound, decide
from myservice.repository.ledger import enter_all
from myservice.service.orders import Announcement
from paceline.errors import Code, Error
from paceline.postgres import Connection, Row
from paceline.postgres.inbox import claim, claimable

CONSUMER: Final = "order-processor"
"""Whose messages are claimed."""

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
    tx: Connection, announcements: Sequence[Announcement], at: datetime
) -> Sequence[Exception | None]:
    """Decide what is announced and pending; see ``OrderRepository.pay_all``."""
    rows = await tx.fetch(_LOCK, [*{each.order_id for each in announcements}])
    orders = {row["id"]: row for row in rows}
    outcomes = [_fault(each, orders) for each in announcements]
    sound = [each for each, fault in zip(announcements, outcomes, strict=True) if fault is None]
    new = await claim(tx, CONSUMER, [each.message_id for each in sound])
    entries: dict[UUID, Entry] = {}
    for each in sound:
        row = orders[each.order_id]
        if each.message_id in new and row["status"] == "pending":
            entries.setdefault(row["id"], _payment(row, at))
    if entries:
        made = await enter_all(tx, [*entries.values()])
        await _decide(tx, [decide(*pair) for pair in zip(entries.values(), made, strict=True)])
    return outcomes


def _payment(row: Row, at: datetime) -> Entry:
    return Entry(
        row["id"], row["from_id"], row["to_id"], row["amount"], row["reference"], at,
        debtor=row["debtor"],
    )  # fmt: skip


def _fault(announcement: Announcement, orders: Mapping[UUID, Row]) -> Exception | None:
    if not claimable(announcement.message_id):
        return Error(Code.INVALID_ARGUMENT, "the message has an id that cannot be remembered")
    if announcement.order_id not in orders:
        return OrderNotFound(f"there is no order {announcement.order_id}")
    return None


async def _decide(tx: Connection, decisions: Sequence[Decision]) -> None:
    await tx.execute(
        _DECIDE,
        [decision.order_id for decision in decisions],
        [decision.status for decision in decisions],
        [decision.reason for decision in decisions],
        [decision.at for decision in decisions],
    )
