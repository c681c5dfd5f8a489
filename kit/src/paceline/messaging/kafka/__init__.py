"""The queue on Kafka: publishing and consuming by the same rules as on NATS.

Needs the extra ``paceline[kafka]``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.messaging.kafka.bus import KafkaBus, KafkaBusSettings
    from paceline.messaging.kafka.consumer import KafkaConsumer
    from paceline.messaging.kafka.security import KafkaSecurity
    from paceline.messaging.kafka.source import KafkaSubscription, dead_letter_topic
    from paceline.messaging.kafka.topics import Topic
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "KafkaBus": "bus",
            "KafkaBusSettings": "bus",
            "KafkaConsumer": "consumer",
            "KafkaSecurity": "security",
            "KafkaSubscription": "source",
            "Topic": "topics",
            "dead_letter_topic": "source",
        },
        extra="kafka",
    )

__all__ = [
    "KafkaBus",
    "KafkaBusSettings",
    "KafkaConsumer",
    "KafkaSecurity",
    "KafkaSubscription",
    "Topic",
    "dead_letter_topic",
]
