"""The consumer of order events: a batch of events in, one outcome for each out.

Invariant: the outcome None means that the effect is committed, so the message may be acknowledged;
an exception means that it is not, so the message must be delivered again. An exception that is
raised is about the whole batch, of which nothing was done. An order that cannot be paid is refused,
and its message is acknowledged.
"""

from collections.abc import Sequence
from typing import Final

from myservice.domain.orders import CREATED_SUBJECT, OrderCreated
from myservice.service.orders import OrderService
from paceline.errors import Code, Error
from paceline.messaging import Incoming
from paceline.messaging.nats import Stream

ORDERS_STREAM: Final = Stream("ORDERS", ("orders.>",))
"""The stream of the events."""


class OrderProcessor:
    """The handler of ``orders.created``."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    async def process(self, batch: Sequence[Incoming[OrderCreated]]) -> Sequence[Exception | None]:
        """Pay the orders of the batch."""
        created = [each for each in batch if each.subject == CREATED_SUBJECT]
        outcomes = await self._service.pay_orders([(each.id, each.value) for each in created])
        if len(created) == len(batch):
            return outcomes
        remaining = iter(outcomes)
        return [
            next(remaining) if each.subject == CREATED_SUBJECT else _unhandled(each)
            for each in batch
        ]


def _unhandled(message: Incoming[OrderCreated]) -> Error:
    return Error(Code.INVALID_ARGUMENT, f"nothing here handles {message.subject!r}")
