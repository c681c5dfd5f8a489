"""The message queue: publish with an acknowledgement, consume with an effect committed first.

Invariants: ``publish`` returns when the queue holds the message; a message is acknowledged after
its effect is committed, so nothing is lost and a redelivery is possible, which the inbox makes
harmless. Handlers take a batch and give one outcome each: fetch many, decide in one transaction,
acknowledge all. Read ``message``, ``consumer`` (what becomes of an outcome), ``nats``,
``nats_consumer``, and ``dead`` for what could not be handled.
"""

from paceline.bus.dead import Letter
from paceline.bus.dead_letters import Buried, DeadLetters
from paceline.bus.handling import Handler
from paceline.bus.jetstream import Stream
from paceline.bus.message import Incoming, Message
from paceline.bus.nats import NatsBus
from paceline.bus.nats_consumer import NatsConsumer, dead_stream
from paceline.bus.nats_errors import QueueError
from paceline.bus.verdict import Policy

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
