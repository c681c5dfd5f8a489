"""A consumer on NATS JetStream: the kit's `Consumer` on a durable consumer of a stream.

Acknowledgements are explicit; a message that cannot be handled goes to the stream ``DEAD``.
"""

from collections.abc import Iterable
from typing import TypeVar

from paceline.log import Logger
from paceline.messaging.consumer import Backpressure, Consumer
from paceline.messaging.nats.bus import NatsBus
from paceline.messaging.nats.source import Backlog, NatsSource
from paceline.messaging.nats.stream import NatsSubscription
from paceline.messaging.processor import Handler
from paceline.messaging.settings import ConsumerSettings
from paceline.stats import StatsEntry
from paceline.trace import Tracer

T = TypeVar("T")


class NatsConsumer(Consumer[T]):
    """Consumes the messages of ``subscription`` with ``handler``.

    The stream itself is created by who publishes to it (`NatsBus`); until it exists, this waits.
    ``tracer`` and ``backpressure``: see `paceline.messaging.Consumer`.

    Example::

        NatsConsumer(
            bus, handle, log, type=ThingMade,
            subscription=NatsSubscription("THINGS", ("things.>",), durable="thing-counter"),
        )
    """

    def __init__(
        self,
        bus: NatsBus,
        handler: Handler[T],
        log: Logger,
        *,
        type: type[T],  # noqa: A002 - what a message is decoded to, as msgspec calls it
        subscription: NatsSubscription,
        settings: ConsumerSettings | None = None,
        tracer: Tracer | None = None,
        backpressure: Backpressure | None = None,
    ) -> None:
        settings = settings or ConsumerSettings()
        self._nats = NatsSource(bus, log, subscription, heartbeat=settings.heartbeat)
        super().__init__(
            self._nats,
            handler,
            log,
            type=type,
            name=subscription.durable,
            settings=settings,
            extend_interval=subscription.ack_wait / 3,
            tracer=tracer,
            backpressure=backpressure,
        )

    def stats_entries(self) -> Iterable[StatsEntry]:
        """For metrics: what it has done, and by a query how far it is behind."""
        yield from super().stats_entries()
        yield StatsEntry("backlogs", self.name, query=self.backlog)

    async def backlog(self) -> Backlog:
        """How far all processes with this durable consumer are behind. Errors: UNAVAILABLE."""
        return await self._nats.backlog()
