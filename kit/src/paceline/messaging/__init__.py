"""The message queue: publish with an acknowledgement, consume with an effect committed first.

Invariants: ``publish`` returns when the queue holds the message; a message is acknowledged after
its effect is committed, so nothing is lost and a redelivery is possible, which the inbox makes
harmless. Handlers take a batch and give one outcome each: fetch many, decide in one transaction,
acknowledge all. Read ``message``, ``consumer`` (what becomes of an outcome), ``nats``,
``nats_consumer``, and ``dead`` for what could not be handled.
"""

from paceline.messaging.dead_letter import Letter
from paceline.messaging.delivery_policy import Policy
from paceline.messaging.handling import Handler
from paceline.messaging.message import Incoming, Message
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.consumer import NatsConsumer, dead_stream
from paceline.messaging.nats.dead_letters import Buried, DeadLetters
from paceline.messaging.nats.errors import QueueError
from paceline.messaging.nats.jetstream import Stream

__all__ = [
    "Buried",
    "DeadLetters",
    "Handler",
    "Incoming",
    "Letter",
    "Message",
    "NatsBus",
    "NatsConsumer",
    "Policy",
    "QueueError",
    "Stream",
    "dead_stream",
]
