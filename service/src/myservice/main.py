"""The composition root: where servers and workers are built from adapters, and wired.

Read it from top to bottom and you know the whole service: what depends on what, in which order
things start (and, in reverse, stop). Nothing here does I/O; `Built.lifecycle` does, when it is run.
``serving_cli`` and ``asgi`` call `build`. What operators see is in ``operations`` and ``traces``,
what commands stand on that do one thing and end in ``errands``. What a request passes is in
``doors``; it then goes ``handler.http``, ``service.records``, ``repository.records``.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from myservice.config import Config
from myservice.domain.orders import OrderCreated
from myservice.domain.records import Record, RecordNotFound
from myservice.operations import Operations
from myservice.repository.accounts import PgAccounts
from myservice.repository.cached_records import CachedRecords
from myservice.repository.ledger import PgLedger
from myservice.repository.orders import PgOrders
from myservice.repository.payments import CONSUMER
from myservice.repository.reading import Reads
from myservice.repository.record_changes import CHANNEL, PgChanges
from myservice.repository.records import PgRecords
from myservice.routes import Ingress, Telemetry, UseCases, http_app, rpc_app
from myservice.service.accounts import AccountService
from myservice.service.feed import RecordFeed
from myservice.service.orders import OrderService
from myservice.service.records import RecordService
from myservice.service.retention import Retention
from myservice.traces import traces_of
from myservice.worker.orders import OrderProcessor
from paceline.auth import JwksSource, KeySource, Secrets, Verifier, fetch_from
from paceline.clock import SystemClock
from paceline.coalesce import Coalescer, Observer
from paceline.commands.admin import AdminLog
from paceline.commands.prefork import SupervisorLink, WorkerHandoff
from paceline.config import EffectiveSetting, format_duration
from paceline.grpc import RpcApp, RpcServer
from paceline.health import Check, Health
from paceline.http import App, HttpServer
from paceline.http.middleware import PreAdmission
from paceline.lifecycle import Lifecycle, OnShutdown, Service
from paceline.log import Logger
from paceline.messaging.nats import NatsBus, NatsConsumer, NatsSubscription, Stream
from paceline.postgres import Notifier, Pool, listening, uuid7
from paceline.postgres.inbox import InboxCleaner
from paceline.postgres.outbox import OutboxListener, OutboxRelay
from paceline.redis import CacheAside, Redis, RedisStore, SharedLimiter
from paceline.resilience import Admission, Limiter, LoadShedder, RateLimiter, RateLimits
from paceline.trace import Tracer

ORDERS: Final = Stream("ORDERS", ("orders.>",))
"""The stream of the orders' messages; its durable consumer is ``order-processor``."""
_OUTBOX: Final = "outbox"
"""The channel of PostgreSQL on which `serve` tells `worker` that there is something to send."""


@dataclass(frozen=True, slots=True)
class Built:
    """The service, wired and not yet started.

    Under a foreign ASGI server there is no server of ours. A worker has the admin server only, and
    its ``app``.
    """

    app: App
    lifecycle: Lifecycle
    server: HttpServer | None
    rpc_server: RpcServer | None
    admin: HttpServer | None
    link: SupervisorLink | None = None
    """To the supervisor, for one of several workers."""


def build(
    config: Config,
    log: AdminLog,
    *,
    before: Sequence[Service] = (),
    settings: Sequence[EffectiveSetting] = (),
    with_server: bool = True,
    with_worker: bool = False,
    given: WorkerHandoff | None = None,
) -> Built:
    """Wire everything. ``before``: what must be up first, such as the schema.

    ``given``: what a supervisor gave, for one of several workers.
    ``settings``: what operators see of them. Errors: as for `Operations.services`.
    """
    clock = SystemClock()
    pool = Pool(
        config.get_database_url(), max_size=config.max_db_conns, application_name="myservice"
    )
    traces = traces_of(config, log, service="myservice")
    shedder = _shedder(config, clock, log)
    core = _core(config, pool, clock, log, traces.observer)
    work = (
        _work(config, pool, core.use.orders, log, tracer=traces.tracer, shedder=shedder)
        if with_worker
        else Work([], {})
    )
    guard, guarding = _guard(config, core.redis, clock, shedder)
    operations = Operations(config, log, service="myservice")
    operations.watch(pool, core.coalescers, cache=core.cache, redis=core.redis)
    operations.watch_limits(shedder, guard.http, guard.grpc)
    operations.watch_reads(core.reads)
    operations.watch_work(work.relays, work.consumers)
    operations.watch_traces(traces.export)

    def draining() -> bool:
        return lifecycle.draining

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with lifecycle:
            yield

    health = Health({"postgres": pool.ping, **work.checks}, log, draining=draining)
    telemetry = Telemetry(traces.tracer, operations.measured if with_server else None)
    app = http_app(
        config, core.use, guard, telemetry, health=health, clock=clock, log=log, lifespan=lifespan
    )
    rpc = rpc_app(config, core.use, guard, telemetry, health=health, clock=clock, log=log)
    operating = operations.services(health, settings, given) if with_server else ()
    server = _server(app, config, log, given, gate=guard.gate()) if with_server else None
    rpc_server = _rpc_server(rpc, config) if with_server else None
    servers = [one for one in (server, rpc_server) if one is not None]
    closing = OnShutdown("doors", *(one.stop_accepting for one in servers))
    link = SupervisorLink(given, on_leave=lambda: lifecycle.hand_over()) if given else None  # noqa: PLW0108 - made below
    first = [*([link] if link else []), *operating, *before, *traces.services]
    # The feed comes after the servers: streams end before a server waits for them. The doors close
    # first: whoever comes back at once is another's.
    last = [*servers, core.feed, closing]
    lifecycle = Lifecycle(
        [*first, shedder, pool, *core.services, *guarding, *work.services, *last],
        log,
        drain_delay=config.drain_delay,
        shutdown_timeout=config.shutdown_timeout,
    )
    return Built(app, lifecycle, server, rpc_server, operations.server, link)


@dataclass(frozen=True, slots=True)
class Core:
    """The use cases, and what they stand on. ``redis`` is None unless something is kept there."""

    use: UseCases
    feed: RecordFeed
    reads: Reads
    redis: Redis | None
    cache: CacheAside[Record] | None
    coalescers: Sequence[Coalescer]
    services: Sequence[Service]


def _core(
    config: Config, pool: Pool, clock: SystemClock, log: Logger, observer: Observer | None
) -> Core:
    uses_redis = config.cache or config.rate_limit_shared
    redis = (
        Redis(config.get_redis_url(), log, clock, timeout=config.redis_timeout)
        if uses_redis
        else None
    )
    cache = _cache(redis, config, log, clock, observer) if redis and config.cache else None
    recorder, announcer = Notifier(pool, CHANNEL), Notifier(pool, _OUTBOX)
    changes = PgChanges(pool)
    feed = RecordFeed(
        changes, lambda: listening(config.get_database_url(), CHANNEL, log), clock, log
    )
    reads = Reads(pages=_pages_at_once(config))
    pg_records = PgRecords(pool, reads, written=recorder.notify, observer=observer)
    pg_accounts = PgAccounts(pool, reads, observer=observer)
    pg_ledger = PgLedger(pool, observer=observer)
    pg_orders = PgOrders(pool, reads, announced=announcer.notify, observer=observer)
    records = CachedRecords(pg_records, cache) if cache else pg_records
    services: list[Service] = [
        recorder, announcer, pg_records, pg_accounts, pg_ledger, pg_orders,
        Retention(changes, log), *(one for one in (redis, cache) if one is not None),
    ]  # fmt: skip
    use = UseCases(
        RecordService(records, clock, uuid7),
        AccountService(pg_accounts, pg_ledger, clock, uuid7),
        OrderService(pg_orders, clock, uuid7),
        feed,
    )
    repositories = (pg_records, pg_accounts, pg_ledger, pg_orders)
    coalescers = [each for one in repositories for each in one.coalescers]
    return Core(use, feed, reads, redis, cache, coalescers, services)


def _pages_at_once(config: Config) -> int:
    """Half of the connections stay for the trips that carry everybody else."""
    return max(1, config.max_db_conns // 2)


def limits(config: Config) -> Mapping[str, object]:
    """The numbers by which work is bounded, to be told at start-up."""
    return {
        "max_in_flight": config.max_in_flight,
        "shed_delay": format_duration(config.shed_delay),
        "rate_limit": config.rate_limit,
        "request_timeout": format_duration(config.request_timeout),
        "max_db_conns": config.max_db_conns,
        "pages_at_once": _pages_at_once(config),
    }


def _cache(
    redis: Redis, config: Config, log: Logger, clock: SystemClock, observer: Observer | None
) -> CacheAside[Record]:
    return CacheAside(
        RedisStore(redis, name="records"),
        log,
        clock,
        name="records",
        type=Record,
        ttl=config.cache_ttl,
        negative=RecordNotFound,
        # A change whose caller has left goes on until the last of its batch gives up.
        hold=2 * config.request_timeout,
        observer=observer,
    )


def _guard(
    config: Config, redis: Redis | None, clock: SystemClock, shedder: LoadShedder
) -> tuple[Ingress, Sequence[Service]]:
    """The guard of both doors, and what it stands on."""
    jwks = _jwks(config, clock)
    keys: list[KeySource] = [*_secrets(config), *jwks]
    verifier = Verifier(keys, clock, issuer=config.jwt_issuer, audience=config.jwt_audience)
    shared: list[SharedLimiter] = []

    def limiter(rate: int, name: str) -> Limiter:
        local = RateLimiter(clock, rate=rate)
        if redis is None or not config.rate_limit_shared:
            return local
        shared.append(SharedLimiter(redis, local, rate=rate, name=name))
        return shared[-1]

    limits = RateLimits(
        limiter(config.rate_limit, "limit") if config.rate_limit else None,
        group="api",
        own={scope: limiter(rate, f"limit {scope}") for scope, rate in config.rate_limits},
    )
    return Ingress(verifier, limits, Admission(shedder, "http"), Admission(shedder, "grpc")), [
        *jwks,
        *shared,
    ]


def _shedder(config: Config, clock: SystemClock, log: Logger) -> LoadShedder:
    return LoadShedder(clock, log, most=config.max_in_flight, target=config.shed_delay)


def build_worker(
    config: Config,
    log: AdminLog,
    *,
    before: Sequence[Service] = (),
    settings: Sequence[EffectiveSetting] = (),
) -> Built:
    """Wire what ``myservice worker`` needs. Parameters and errors as for `build`."""
    clock = SystemClock()
    pool = Pool(config.get_database_url(), max_size=config.max_db_conns, application_name="worker")
    traces = traces_of(config, log, service="myservice-worker")
    shedder = _shedder(config, clock, log)
    pg_orders = PgOrders(pool, observer=traces.observer)
    orders = OrderService(pg_orders, clock, uuid7)
    work = _work(config, pool, orders, log, tracer=traces.tracer, shedder=shedder)

    def draining() -> bool:
        return lifecycle.draining

    health = Health({"postgres": pool.ping, **work.checks}, log, draining=draining)
    operations = Operations(config, log, service="myservice worker")
    operations.watch(pool, pg_orders.coalescers)
    operations.watch_work(work.relays, work.consumers)
    operations.watch_traces(traces.export)
    operating = operations.services(health, settings)
    lifecycle = Lifecycle(
        [*operating, *before, *traces.services, shedder, pool, pg_orders, *work.services],
        log,
        drain_delay=config.drain_delay,
        shutdown_timeout=config.shutdown_timeout,
    )
    return Built(operations.app, lifecycle, None, None, operations.server)


@dataclass(frozen=True, slots=True)
class Work:
    """What works in the background: to be started in order, and asked whether it is ready."""

    services: Sequence[Service]
    checks: Mapping[str, Check]
    relays: Sequence[OutboxRelay] = ()
    consumers: Sequence[NatsConsumer[OrderCreated]] = ()


def _work(
    config: Config,
    pool: Pool,
    orders: OrderService,
    log: Logger,
    *,
    tracer: Tracer,
    shedder: LoadShedder,
) -> Work:
    """The relay of the outbox and the consumer of orders, which lets requests go first."""
    stream = msgspec.structs.replace(ORDERS, replicas=config.nats_replicas)
    bus = NatsBus(config.get_nats_url(), log, name="myservice", streams=[stream], tracer=tracer)
    # It is woken for every message; polling is for a notification that was lost.
    relay = OutboxRelay(pool, bus, log, poll_interval=1.0)
    listener = OutboxListener(
        lambda: listening(config.get_database_url(), _OUTBOX, log), relay.wake
    )
    consumer = NatsConsumer(
        bus, OrderProcessor(orders).process, log, type=OrderCreated,
        subscription=NatsSubscription(
            stream.name, stream.subjects, durable=CONSUMER, replicas=stream.replicas
        ),
        tracer=tracer, backpressure=shedder,
    )  # fmt: skip
    return Work(
        [bus, relay, listener, InboxCleaner(pool, log), consumer],
        {"nats": bus.ping, "orders": consumer.ready},
        [relay],
        [consumer],
    )


def _server(
    app: App, config: Config, log: Logger, given: WorkerHandoff | None, *, gate: PreAdmission
) -> HttpServer:
    return HttpServer(
        app,
        log,
        host=config.host,
        port=config.port,
        reuse_port=config.reuse_port,
        listener=given.take_listener() if given else None,
        keep_alive_grace=config.keep_alive_grace,
        read_timeout=config.read_timeout,
        write_timeout=config.write_timeout,
        idle_timeout=config.idle_timeout,
        gate=gate,
    )


def _rpc_server(app: RpcApp, config: Config) -> RpcServer:
    return RpcServer(
        app,
        host=config.host,
        port=config.grpc_port,
        max_message=config.max_body,
        reuse_port=config.reuse_port,
        max_connection_age=config.grpc_connection_age or None,
    )


def _secrets(config: Config) -> list[Secrets]:
    if config.jwt_secret is None:
        return []
    current, previous = config.jwt_secret, config.jwt_secret_previous
    return [Secrets(current.reveal().encode(), previous.reveal().encode() if previous else None)]


def _jwks(config: Config, clock: SystemClock) -> list[JwksSource]:
    if config.jwks_url is None:
        return []
    # With a secret the service can verify tokens at once; without one it waits for the keys.
    return [JwksSource(fetch_from(config.jwks_url), clock, required=config.jwt_secret is None)]
