"""The queue on Kafka: publishing and consuming by the same rules as on NATS.

Needs the extra ``paceline[kafka]``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.messaging.kafka.bus import KafkaBus
    from paceline.messaging.kafka.consumer import KafkaConsumer
    from paceline.messaging.kafka.topics import Topic
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "KafkaBus": "bus",
            "KafkaConsumer": "consumer",
            "Topic": "topics",
        },
        extra="kafka",
    )

__all__ = ["KafkaBus", "KafkaConsumer", "Topic"]
