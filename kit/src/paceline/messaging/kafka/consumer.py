"""A consumer on Kafka: the runtime and its source, put together as for NATS.

What a handler sees is the same: a batch in, one outcome each out, the effect committed before the
offset. Not built by ``main``: who runs on Kafka builds it with a `KafkaBus` where a `NatsConsumer`
stands. Read ``consumer`` and ``kafka_source``.
"""

from collections.abc import Sequence
from typing import TypeVar

from paceline.log import Logger
from paceline.messaging.consumer import Consumer
from paceline.messaging.delivery_policy import DeliveryPolicy
from paceline.messaging.kafka.bus import KafkaBus
from paceline.messaging.kafka.source import KafkaSource
from paceline.messaging.processor import Handler
from paceline.trace import Tracer

T = TypeVar("T")


class KafkaConsumer(Consumer[T]):
    """Consumes ``topics`` as a member of ``group``. Times are in seconds.

    ``session_timeout``: after how long a silence of this process its partitions go to others.
    ``nak_delay``, ``backoff``, ``max_deliver``: see `DeliveryPolicy`. ``batch``, ``lanes``,
    ``work_timeout``, ``stop_timeout``, ``tracer``: see `Consumer`. ``heartbeat``, ``max_held``,
    ``replicas``, ``retry_partitions``: see `KafkaSource`.

    The topics are the publisher's to make (`KafkaBus`); until they are there, this waits.
    """

    def __init__(
        self,
        bus: KafkaBus,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        topics: Sequence[str],
        group: str,
        session_timeout: float = 10.0,
        nak_delay: float = 5.0,
        backoff: float = 1.0,
        max_deliver: int = 5,
        batch: int = 256,
        lanes: int = 2,
        work_timeout: float = 60.0,
        stop_timeout: float = 20.0,
        heartbeat: float = 5.0,
        max_held: int = 10_000,
        replicas: int = 1,
        retry_partitions: int = 1,
        tracer: Tracer | None = None,
    ) -> None:
        source = KafkaSource(
            bus,
            log,
            topics=topics,
            group=group,
            heartbeat=heartbeat,
            session_timeout=session_timeout,
            max_held=max_held,
            replicas=replicas,
            retry_partitions=retry_partitions,
        )
        super().__init__(
            source,
            handler,
            log,
            type=type,
            name=group,
            policy=DeliveryPolicy(max_deliver, nak_delay, backoff),
            batch=batch,
            lanes=lanes,
            work_timeout=work_timeout,
            alive_within=3 * heartbeat + 5.0,
            stop_timeout=stop_timeout,
            tracer=tracer,
        )
