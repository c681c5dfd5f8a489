"""The queue on NATS JetStream: publishing, consuming, dead letters.

Needs the extra ``paceline[nats]``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.messaging.nats.bus import NatsBus, NatsBusSettings, server_addresses
    from paceline.messaging.nats.consumer import NatsConsumer
    from paceline.messaging.nats.dead_letters import (
        DeadLetters,
        StoredDeadLetter,
        dead_letter_stream,
    )
    from paceline.messaging.nats.errors import (
        CONSUMER_NOT_FOUND,
        STREAM_NOT_FOUND,
        JetStreamError,
    )
    from paceline.messaging.nats.source import Backlog
    from paceline.messaging.nats.stream import NatsSubscription, Stream
    from paceline.messaging.nats.stream_cleaner import StreamCleaner
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Backlog": "source",
            "CONSUMER_NOT_FOUND": "errors",
            "DeadLetters": "dead_letters",
            "JetStreamError": "errors",
            "NatsBus": "bus",
            "NatsBusSettings": "bus",
            "NatsConsumer": "consumer",
            "NatsSubscription": "stream",
            "STREAM_NOT_FOUND": "errors",
            "StoredDeadLetter": "dead_letters",
            "Stream": "stream",
            "StreamCleaner": "stream_cleaner",
            "dead_letter_stream": "dead_letters",
            "server_addresses": "bus",
        },
        extra="nats",
    )

__all__ = [
    "CONSUMER_NOT_FOUND",
    "STREAM_NOT_FOUND",
    "Backlog",
    "DeadLetters",
    "JetStreamError",
    "NatsBus",
    "NatsBusSettings",
    "NatsConsumer",
    "NatsSubscription",
    "StoredDeadLetter",
    "Stream",
    "StreamCleaner",
    "dead_letter_stream",
    "server_addresses",
]
