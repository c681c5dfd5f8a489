"""The order service: place an order, look at it, and pay those that are announced.

Ownership is judged twice. When an order is placed, by a look without a lock, so that a mistake is
told at once: an account neither disappears nor changes hands, so what is refused here would never
be paid. And when it is paid, under the accounts' locks, because only there it is decided. Balances
are judged when it is paid only. An idempotency key works as for transfers (``service.accounts``),
but one whose order was refused at the door stays free: nothing was taken on.
Called by ``handler.orders`` and ``worker.orders``; ``repository.orders`` implements the Protocol.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from myservice.domain.ledger import Key
from myservice.domain.orders import NotYourOrder, Order, OrderCreated, OrderDraft, check_order
from myservice.service.accounts import Actor, key_of
from paceline.clock import Clock
from paceline.errors import wrap


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """An order to be taken on. ``debtor`` must own the debited account; None: any will do."""

    order: Order
    debtor: str | None
    key: Key | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """That an order was created, as it came from the queue: by which message, which order."""

    message_id: str
    order_id: UUID


class OrderRepository(Protocol):
    """Where orders are kept, announced, and decided."""

    async def place(self, placement: Placement) -> Order:
        """Add the order and announce it, both or neither; the same key gives the same order.

        Errors: AccountNotFound, NotTheOwner; KeyReused, KeyInFlight.
        """
        ...

    async def get(self, order_id: UUID) -> Order:
        """One order. Errors: OrderNotFound."""
        ...

    async def pay_all(
        self, announcements: Sequence[Announcement], at: datetime
    ) -> Sequence[Exception | None]:
        """Decide every order that is announced and pending, in order, in one transaction.

        Gives None for each whose order is decided when this returns, by whomever;
        OrderNotFound, and INVALID_ARGUMENT for a message that cannot be taken on.
        """
        ...


class OrderService:
    """The use cases. ``new_id`` gives a fresh UUIDv7."""

    def __init__(self, orders: OrderRepository, clock: Clock, new_id: Callable[[], UUID]) -> None:
        self._orders = orders
        self._clock = clock
        self._new_id = new_id

    async def place_order(self, draft: OrderDraft, actor: Actor, key: str | None) -> Order:
        """Take an order on; it is paid or refused soon.

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
                Placement(order, debtor, key_of(actor, key, ("order", draft)))
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

        One outcome each: None when the order is paid or refused, now or before. Errors, for all of
        them together, in which case nothing was done: those of the repository.
        """
        with wrap("service.pay_orders({} events)", len(events)):
            announcements = [Announcement(message_id, event.id) for message_id, event in events]
            return await self._orders.pay_all(announcements, self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
