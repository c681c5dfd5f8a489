"""The order service: place an order, read it, and pay the orders of incoming events.

The owner is checked twice. When an order is placed, without a lock, so that a mistake is reported
at once: an account is never deleted and never changes its owner, so what is refused here could
never be paid. And when it is paid, under the accounts' locks, which decides. Balances are checked
only when it is paid. An idempotency key works as for transfers, but one whose order was refused
when it was placed stays unused, because no order was made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from myservice.domain.orders import NotYourOrder, Order, OrderCreated, OrderDraft, check_order
from myservice.service.accounts import Actor
from paceline.clock import Clock
from paceline.errors import wrap
from paceline.idempotency import IdempotencyKey


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """An order to be placed. ``debtor`` must own the account that pays; None: no check."""

    order: Order
    debtor: str | None
    key: IdempotencyKey | None


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """An order to be paid, and the message that its event came in."""

    message_id: str
    order_id: UUID


class OrderRepository(Protocol):
    """Stores orders with their events, and decides them."""

    async def place(self, placement: Placement) -> Order:
        """Add the order and its event, both or neither; the same key gives the same order.

        Errors: AccountNotFound, NotTheOwner; KeyReused, KeyInFlight.
        """
        ...

    async def get(self, order_id: UUID) -> Order:
        """One order. Errors: OrderNotFound."""
        ...

    async def pay_all(
        self, requests: Sequence[PaymentRequest], at: datetime
    ) -> Sequence[Exception | None]:
        """Decide every pending order, in the order of the requests, in one transaction.

        Gives None for each order that is decided when this returns, now or before; OrderNotFound;
        INVALID_ARGUMENT for a message id that the inbox cannot store.
        """
        ...


class OrderService:
    """The use cases. ``new_id`` gives a fresh UUIDv7."""

    def __init__(self, orders: OrderRepository, clock: Clock, new_id: Callable[[], UUID]) -> None:
        self._orders = orders
        self._clock = clock
        self._new_id = new_id

    async def place_order(self, draft: OrderDraft, actor: Actor, key: str | None) -> Order:
        """Accept an order, which is paid or refused soon afterwards.

        Errors: ValidationError, AccountNotFound, NotTheOwner, KeyReused, KeyInFlight.
        """
        with wrap("service.place_order({} to {})", draft.from_id, draft.to_id):
            check_order(draft)
            order = Order(
                self._new_id(), actor.subject, draft.from_id, draft.to_id, draft.amount,
                draft.reference, self._now(),
            )  # fmt: skip
            debtor = None if actor.operator else actor.subject
            return await self._orders.place(
                Placement(order, debtor, IdempotencyKey.of(actor.subject, key, ("order", draft)))
            )

    async def get_order(self, order_id: UUID, actor: Actor) -> Order:
        """Errors: OrderNotFound, NotYourOrder."""
        with wrap("service.get_order({})", order_id):
            order = await self._orders.get(order_id)
            if not actor.operator and order.placed_by != actor.subject:
                raise NotYourOrder
            return order

    async def pay_orders(
        self, events: Sequence[tuple[str, OrderCreated]]
    ) -> Sequence[Exception | None]:
        """Pay the orders of these events, each given with its message's id.

        One outcome each: None when the order is paid or refused, now or before. Errors: those of
        the repository, for the whole batch, of which nothing was done then.
        """
        with wrap("service.pay_orders({} events)", len(events)):
            requests = [PaymentRequest(message_id, event.id) for message_id, event in events]
            return await self._orders.pay_all(requests, self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
