"""The consumer of announced orders: a batch of events in, one outcome each out.

Invariant: None says that the effect is committed, so the message may be acknowledged; an exception
that it is not, so it must come again. What is raised is about the whole batch, and nothing was
done. That an order cannot be paid is its outcome, not the message's: such an order is refused and
the message done with.
"""

from collections.abc import Sequence
from typing import Final

from myservice.domain.orders import CREATED_SUBJECT, OrderCreated
from myservice.service.orders import OrderService
from paceline.errors import Code, Error
from paceline.messaging import Incoming
from paceline.messaging.nats import Stream

ORDERS: Final = Stream("ORDERS", ("orders.>",))
"""The stream of the orders' messages."""


class OrderProcessor:
    """The handler of ``orders.created``."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    async def process(self, batch: Sequence[Incoming[OrderCreated]]) -> Sequence[Exception | None]:
        """Decide the orders that the batch announces."""
        ours = [each for each in batch if each.subject == CREATED_SUBJECT]
        outcomes = await self._service.pay_orders([(each.id, each.value) for each in ours])
        if len(ours) == len(batch):
            return outcomes
        told = iter(outcomes)
        return [next(told) if each.subject == CREATED_SUBJECT else _foreign(each) for each in batch]


def _foreign(message: Incoming[OrderCreated]) -> Error:
    return Error(Code.INVALID_ARGUMENT, f"nothing here handles {message.subject!r}")
