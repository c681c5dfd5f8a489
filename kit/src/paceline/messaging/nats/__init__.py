"""The queue on NATS JetStream: publishing, consuming, dead letters.

Needs the extra ``paceline[nats]``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.messaging.nats.bus import NatsBus, describe
    from paceline.messaging.nats.consumer import NatsConsumer, dead_stream
    from paceline.messaging.nats.dead_letters import DeadLetters, StoredDeadLetter
    from paceline.messaging.nats.errors import CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, QueueError
    from paceline.messaging.nats.jetstream import Done, Stream, ask
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "CONSUMER_NOT_FOUND": "errors",
            "DeadLetters": "dead_letters",
            "Done": "jetstream",
            "NatsBus": "bus",
            "NatsConsumer": "consumer",
            "QueueError": "errors",
            "STREAM_NOT_FOUND": "errors",
            "StoredDeadLetter": "dead_letters",
            "Stream": "jetstream",
            "ask": "jetstream",
            "dead_stream": "consumer",
            "describe": "bus",
        },
        extra="nats",
    )

__all__ = [
    "CONSUMER_NOT_FOUND",
    "STREAM_NOT_FOUND",
    "DeadLetters",
    "Done",
    "NatsBus",
    "NatsConsumer",
    "QueueError",
    "StoredDeadLetter",
    "Stream",
    "ask",
    "dead_stream",
    "describe",
]
