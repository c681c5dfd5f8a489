"""What operators see of one process: its metrics, and its admin port.

``serve``, ``worker`` and ``run`` each have one, on ``APP_ADMIN_PORT`` of ``APP_ADMIN_HOST``; under
a foreign ASGI server there is none, for several processes would want the same port. What is watched
is told to it by ``main``, which also puts its services first: the port is open before anything else
has started, and is the last to close. Paths and what they answer are ``paceline.commands.admin``'s;
names and meanings of the metrics are in ``docs/metrics.md``.
"""

from collections.abc import Sequence
from typing import Any

from myservice import __version__
from myservice.config import Config
from myservice.repository.reading import Reads
from paceline.coalesce import Coalescer
from paceline.commands.admin import (
    AdminContext,
    AdminLog,
    Profiler,
    TaskAges,
    admin_app,
    require_token,
)
from paceline.commands.prefork import WorkerHandoff
from paceline.config import EffectiveSetting
from paceline.health import Health
from paceline.http import App, HttpServer, ServerLimits
from paceline.lifecycle import Service
from paceline.messaging.nats import NatsConsumer
from paceline.metrics import LoopLag, Metrics
from paceline.postgres import Pool
from paceline.postgres.outbox import OutboxRelay
from paceline.redis import CacheAside, Redis
from paceline.resilience import Admission, LoadShedder
from paceline.trace import TraceExport, recording


class Operations:
    """The metrics of a process called ``service``, and the server that shows them."""

    def __init__(self, config: Config, log: AdminLog, *, service: str) -> None:
        self._config = config
        self._log = log
        self._service = service
        self._metrics = Metrics(version=__version__, exemplar=_recorded)
        self.app = App()
        self.server: HttpServer | None = None

    @property
    def measured(self) -> Metrics | None:
        """Where requests are counted; None when nobody wants to know."""
        return self._metrics if self._config.enable_metrics else None

    def watch(
        self,
        pool: Pool,
        coalescers: Sequence[Coalescer],
        *,
        cache: CacheAside[Any] | None = None,
        redis: Redis | None = None,
    ) -> None:
        """Show the figures of what requests go through."""
        watched = self._metrics.watched
        watched.add("pools", pool)
        watched.read("retries", "transactions", lambda: pool.retries)
        watched.add("coalescers", *coalescers)
        if cache is not None:
            watched.add("caches", cache)
            watched.add("coalescers", *cache.coalescers)
        if redis is not None:
            watched.add("breakers", redis.breaker)

    def watch_traces(self, export: TraceExport | None) -> None:
        """Show what became of the spans, if any are sent."""
        if export is not None:
            self._metrics.watched.add("exporters", export)

    def watch_limits(self, shedder: LoadShedder, *doors: Admission) -> None:
        """Show how much is let in, and what was turned away."""
        watched = self._metrics.watched
        watched.add("shedders", shedder)
        watched.add("doors", *doors)

    def watch_reads(self, reads: Reads) -> None:
        """Show what reads were repeated, and what waits for its turn."""
        watched = self._metrics.watched
        watched.read("retries", "reads", lambda: reads.retry.stats)
        watched.add("bulkheads", reads.pages)

    def watch_work(
        self, relays: Sequence[OutboxRelay], consumers: Sequence[NatsConsumer[Any]]
    ) -> None:
        """Show the figures of what goes on in the background."""
        watched = self._metrics.watched
        for relay in relays:
            watched.ask("outbox", relay.name, relay.stats)
        watched.add("consumers", *consumers)
        for consumer in consumers:
            watched.ask("backlogs", consumer.name, consumer.backlog)

    def services(
        self,
        health: Health,
        settings: Sequence[EffectiveSetting],
        given: WorkerHandoff | None = None,
    ) -> Sequence[Service]:
        """What to start, before everything else.

        ``given``: one of several workers listens to its supervisor only, which has the port and
        asks for the token. Errors: Error(FAILED_PRECONDITION) when the address needs a token and
        there is none.
        """
        config = self._config
        token = config.admin_token.reveal() if config.admin_token and given is None else None
        if given is None:
            require_token(config.admin_host, token, variable=config.variable("admin_token"))
        tasks, profiler = TaskAges(), Profiler()
        operated = AdminContext(
            self._service, __version__, health,
            metrics=self.measured, settings=settings, state=self._metrics.watched.state,
            tasks=tasks, profiler=profiler,
        )  # fmt: skip
        self.app = admin_app(operated, self._log, token=token)
        self.server = HttpServer(
            self.app,
            self._log,
            name=f"admin server ({config.variable('admin_port')})",
            host=config.admin_host,
            port=config.admin_port,
            listener=given.take_admin() if given else None,
            limits=ServerLimits(write_timeout=90.0),  # a profile takes up to a minute
        )
        # In reverse at the end: a profile that is being made ends before the server waits for it.
        return [self.server, LoopLag(self._metrics), tasks, profiler]


def _recorded() -> str | None:
    """The id of the trace that is being recorded, for an exemplar."""
    span = recording()
    return None if span is None else span.trace_id
