"""A consumer on NATS: the runtime and its source, put together with JetStream's usual names.

The seed's ``ConsumeOrders`` in one call: durable, explicit acknowledgement, ack wait, delay, dead
letter after so many attempts; and in batches. Built by ``main`` for the worker; read ``consumer``
and ``nats_source``.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from paceline.log import Logger
from paceline.messaging.consumer import Backpressure, Consumer
from paceline.messaging.dead_letter import PREFIX
from paceline.messaging.delivery_policy import DeliveryPolicy
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.jetstream import Stream
from paceline.messaging.nats.source import Backlog, NatsSource
from paceline.messaging.processor import Handler
from paceline.trace import Tracer

T = TypeVar("T")

DEAD_STREAM: Final = "DEAD"


class NatsConsumer(Consumer[T]):
    """Consumes ``subjects`` of ``stream``. Times are in seconds.

    ``ack_wait``: after how long without a word from us a message goes to another process; we say
    that we work on it three times as often. ``nak_delay``, ``backoff``, ``max_deliver``: see
    `DeliveryPolicy`. ``batch``, ``lanes``, ``work_timeout``, ``stop_timeout``, ``tracer``,
    ``gate``: see `Consumer`. ``max_ack_pending``, ``heartbeat``: see `NatsSource`. ``replicas``: of
    the streams that it makes for itself, which are dead letters and counts of failures.

    The stream itself is the publisher's to make (`NatsBus`); until it is there, this waits.
    """

    def __init__(
        self,
        bus: NatsBus,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        stream: str = "ORDERS",
        subjects: Sequence[str] = ("orders.>",),
        durable: str = "order-processor",
        ack_wait: float = 30.0,
        nak_delay: float = 5.0,
        backoff: float = 1.0,
        max_deliver: int = 5,
        batch: int = 256,
        lanes: int = 2,
        work_timeout: float = 60.0,
        stop_timeout: float = 20.0,
        max_ack_pending: int = 20_000,
        heartbeat: float = 5.0,
        replicas: int = 1,
        tracer: Tracer | None = None,
        gate: Backpressure | None = None,
    ) -> None:
        source = self._nats = NatsSource(
            bus,
            log,
            stream=Stream(stream, tuple(subjects), replicas=replicas),
            durable=durable,
            subjects=subjects,
            dead=dead_stream(replicas=replicas),
            ack_wait=ack_wait,
            max_ack_pending=max_ack_pending,
            heartbeat=heartbeat,
        )
        super().__init__(
            source,
            handler,
            log,
            type=type,
            name=durable,
            policy=DeliveryPolicy(max_deliver, nak_delay, backoff),
            batch=batch,
            lanes=lanes,
            work_timeout=work_timeout,
            extend_every=ack_wait / 3,
            alive_within=3 * heartbeat,
            stop_timeout=stop_timeout,
            tracer=tracer,
            gate=gate,
        )

    async def backlog(self) -> Backlog:
        """How far all consumers of this name are behind. Errors: UNAVAILABLE."""
        return await self._nats.backlog()


def dead_stream(*, replicas: int = 1) -> Stream:
    """Where dead letters are kept."""
    return Stream(DEAD_STREAM, (f"{PREFIX}>",), replicas=replicas)
