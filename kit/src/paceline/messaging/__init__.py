"""The message queue: publish with an acknowledgement, consume with an effect committed first.

Invariants: ``publish`` returns when the queue holds the message; a message is acknowledged after
its effect is committed, so nothing is lost and a redelivery is possible, which the inbox makes
harmless. Handlers take a batch and give one outcome each: fetch many, decide in one transaction,
acknowledge all. Read ``message``, ``consumer`` (what becomes of an outcome), ``nats``,
``nats_consumer``, and ``dead`` for what could not be handled.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.messaging.dead_letter import PREFIX, DeadLetter, to_headers
    from paceline.messaging.delivery_policy import DeliveryPolicy
    from paceline.messaging.message import Incoming, Message
    from paceline.messaging.processor import Handler
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "DeadLetter": "dead_letter",
            "DeliveryPolicy": "delivery_policy",
            "Handler": "processor",
            "Incoming": "message",
            "Message": "message",
            "PREFIX": "dead_letter",
            "to_headers": "dead_letter",
        },
    )

__all__ = [
    "PREFIX",
    "DeadLetter",
    "DeliveryPolicy",
    "Handler",
    "Incoming",
    "Message",
    "to_headers",
]
