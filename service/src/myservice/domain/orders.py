"""Orders: payments that are requested now and made a moment later, by a worker.

Invariant: an order is pending until it is decided, once: paid or refused. It is paid by the
transfer *with the order's own id*, so the ledger's primary key alone makes a second payment
impossible, and the ledger shows whether an order was paid. What a transfer would be refused for at
once, an order is refused for later: that is an outcome of the order, not a failure of its message.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

import msgspec

from myservice.domain.accounts import AccountId, Amount, Reference
from myservice.domain.ledger import Entry, Transfer
from paceline.errors import Error, NotFound, PermissionDenied, ValidationError

CREATED_SUBJECT: Final = "orders.created"

Status = Literal["pending", "paid", "refused"]
Reason = Literal["insufficient-balance", "balance-overflow", "account-not-found", "not-the-owner"]
_REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class OrderNotFound(NotFound):
    """There is no order with that id."""

    kind = "order-not-found"

    def __init__(self, message: str = "order not found") -> None:
        super().__init__(message)


class NotYourOrder(PermissionDenied):
    """Another subject placed the order."""

    kind = "not-your-order"

    def __init__(self, message: str = "this order is not yours") -> None:
        super().__init__(message)


class OrderDraft(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"from_id": "from", "to_id": "to"},
):
    """How much is to be paid, from which account to which."""

    from_id: AccountId
    to_id: AccountId
    amount: Amount
    reference: Reference = ""


class Order(msgspec.Struct, frozen=True, rename={"from_id": "from", "to_id": "to"}):
    """An order; `reason` when it was refused, `transfer_id` when it was paid."""

    id: UUID
    placed_by: str
    from_id: UUID
    to_id: UUID
    amount: int
    reference: str
    created_at: datetime
    status: Status = "pending"
    reason: Reason | None = None
    transfer_id: UUID | None = None
    decided_at: datetime | None = None


class OrderCreated(msgspec.Struct, frozen=True, rename={"from_id": "from", "to_id": "to"}):
    """The event that is published when an order was placed."""

    id: UUID
    from_id: UUID
    to_id: UUID
    amount: int
    reference: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """The final state of an order; no reason when it was paid."""

    order_id: UUID
    reason: Reason | None
    at: datetime

    @property
    def status(self) -> Status:
        """The order's new status."""
        return "paid" if self.reason is None else "refused"


def check_order(draft: OrderDraft) -> None:
    """The rules that the types cannot express. Errors: ValidationError."""
    if draft.from_id == draft.to_id:
        raise ValidationError("to", "must be another account than `from`")


def order_created(order: Order) -> OrderCreated:
    """The event of a new order."""
    return OrderCreated(
        order.id, order.from_id, order.to_id, order.amount, order.reference, order.created_at
    )


def decide(entry: Entry, outcome: Transfer | Exception) -> Decision:
    """The decision about an order, given the outcome of the entry that pays it.

    Raises the outcome when it is an error that no order is refused for.
    """
    if isinstance(outcome, Transfer):
        return Decision(entry.id, None, entry.at)
    for reason in _REASONS:
        if isinstance(outcome, Error) and outcome.kind == reason:
            return Decision(entry.id, reason, entry.at)
    raise outcome
