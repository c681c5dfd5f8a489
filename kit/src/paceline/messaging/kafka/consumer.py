"""A consumer on Kafka: the kit's `Consumer` as a member of a consumer group.

A handler sees what it sees on NATS: a batch in, one outcome for each message out, the effect
committed before the offset.
"""

from typing import Final, TypeVar

from paceline.log import Logger
from paceline.messaging.consumer import Backpressure, Consumer
from paceline.messaging.kafka.bus import KafkaBus
from paceline.messaging.kafka.source import KafkaSource, KafkaSubscription
from paceline.messaging.processor import Handler
from paceline.messaging.settings import ConsumerSettings
from paceline.trace import Tracer

T = TypeVar("T")

_CHECK_TIMEOUT: Final = 5.0


class KafkaConsumer(Consumer[T]):
    """Consumes the messages of ``subscription`` with ``handler``.

    The topics are created by who publishes to them (`KafkaBus`); until they exist, this waits.
    ``tracer`` and ``backpressure``: see `paceline.messaging.Consumer`.

    Example::

        KafkaConsumer(
            bus, handle, log, type=ThingMade,
            subscription=KafkaSubscription(("things.made",), group="thing-counter"),
        )
    """

    def __init__(
        self,
        bus: KafkaBus,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        subscription: KafkaSubscription,
        settings: ConsumerSettings | None = None,
        tracer: Tracer | None = None,
        backpressure: Backpressure | None = None,
    ) -> None:
        settings = settings or ConsumerSettings()
        super().__init__(
            KafkaSource(bus, log, subscription, heartbeat=settings.heartbeat),
            handler,
            log,
            type=type,
            name=subscription.group,
            settings=settings,
            silence_timeout=3 * settings.heartbeat + _CHECK_TIMEOUT,
            tracer=tracer,
            backpressure=backpressure,
        )
