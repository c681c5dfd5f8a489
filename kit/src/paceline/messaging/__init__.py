"""The message queue: publish with an acknowledgement, consume with the effect committed first.

Invariants: ``publish`` returns when the broker holds the message; a message is acknowledged after
its effect is committed, so nothing is lost, and a redelivery is possible, which the inbox makes
harmless. A handler gets a batch and gives one outcome for each message, so that many messages cost
one transaction. The brokers are ``paceline.messaging.nats`` and ``paceline.messaging.kafka``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.messaging.consumer import Backpressure, Consumer, ConsumerStats, MessageSource
    from paceline.messaging.dead_letter import DEAD_LETTER_PREFIX, DeadLetter
    from paceline.messaging.delivery import Delivery, Disposition, Settlement
    from paceline.messaging.delivery_policy import DeliveryPolicy
    from paceline.messaging.errors import QueueError
    from paceline.messaging.message import Incoming, Message
    from paceline.messaging.processor import Handler
    from paceline.messaging.settings import ConsumerSettings
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Backpressure": "consumer",
            "Consumer": "consumer",
            "ConsumerSettings": "settings",
            "ConsumerStats": "consumer",
            "DEAD_LETTER_PREFIX": "dead_letter",
            "DeadLetter": "dead_letter",
            "Delivery": "delivery",
            "DeliveryPolicy": "delivery_policy",
            "Disposition": "delivery",
            "Handler": "processor",
            "Incoming": "message",
            "Message": "message",
            "MessageSource": "consumer",
            "QueueError": "errors",
            "Settlement": "delivery",
        },
    )

__all__ = [
    "DEAD_LETTER_PREFIX",
    "Backpressure",
    "Consumer",
    "ConsumerSettings",
    "ConsumerStats",
    "DeadLetter",
    "Delivery",
    "DeliveryPolicy",
    "Disposition",
    "Handler",
    "Incoming",
    "Message",
    "MessageSource",
    "QueueError",
    "Settlement",
]
