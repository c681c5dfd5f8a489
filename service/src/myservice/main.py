"""The composition root: the only file that builds adapters and wires them.

Read it from top to bottom and you know the whole service: what depends on what, in which order
things start (and, in reverse, stop). Nothing here does I/O; `Built.lifecycle` does, when it is run.
``cli`` and ``asgi`` call `build`. What a request passes is in ``doors``; it then goes
``handler.http``, ``service.records``, ``repository.records``.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from myservice.config import Config
from myservice.domain.orders import OrderCreated
from myservice.domain.records import Record, RecordNotFound
from myservice.doors import Guard, Telemetry, UseCases, http_app, rpc_app
from myservice.operations import Operations
from myservice.repository.accounts import PgAccounts
from myservice.repository.audit import PgAudit
from myservice.repository.cached_records import CachedRecords
from myservice.repository.changes import CHANNEL, PgChanges
from myservice.repository.imports import PgImports
from myservice.repository.ledger import PgLedger
from myservice.repository.orders import PgOrders
from myservice.repository.records import PgRecords
from myservice.service.accounts import AccountService
from myservice.service.exports import ExportService
from myservice.service.feed import RecordFeed
from myservice.service.imports import ImportService
from myservice.service.orders import OrderService
from myservice.service.records import RecordService
from myservice.service.retention import Retention
from myservice.traces import traces_of
from myservice.worker.orders import OrderProcessor
from paceline.admin.app import OperatedLog
from paceline.auth import JwksSource, KeySource, Secrets, Verifier, fetch_from
from paceline.bus import DeadLetters, NatsBus, NatsConsumer, Stream, dead_stream
from paceline.cache import Aside, Redis, RedisStore, SharedLimiter
from paceline.clock import SystemClock
from paceline.coalesce import Coalescer, Observer
from paceline.config import Row
from paceline.health import Check, Health
from paceline.inbox import InboxCleaner
from paceline.lifecycle import Lifecycle, Service
from paceline.limit import RateLimiter
from paceline.log import Logger
from paceline.outbox import OutboxListener, OutboxRelay
from paceline.pg import Notifier, Pool, listening, uuid7
from paceline.rpc.app import RpcApp
from paceline.rpc.server import RpcServer
from paceline.trace import Tracer
from paceline.web.app import App
from paceline.web.server import HttpServer

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


def build(
    config: Config,
    log: OperatedLog,
    *,
    before: Sequence[Service] = (),
    settings: Sequence[Row] = (),
    with_server: bool = True,
    with_worker: bool = False,
) -> Built:
    """Wire everything. ``before``: what must be up first, such as the schema.

    ``settings``: what operators see of them. Errors: as for `Operations.services`.
    """
    clock = SystemClock()
    pool = Pool(
        config.get_database_url(), max_size=config.max_db_conns, application_name="myservice"
    )
    traces = traces_of(config, log, service="myservice")
    core = _core(config, pool, clock, log, traces.observer)
    work = _work(config, pool, core.use.orders, log, traces.tracer) if with_worker else Work([], {})
    guard, guarding = _guard(config, core.redis, clock)
    operations = Operations(config, log, service="myservice")
    operations.watch(pool, core.coalescers, cache=core.cache, redis=core.redis)
    operations.watch_work(work.relays, work.consumers)

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
    operating = operations.services(health, settings) if with_server else ()
    server = _server(app, config, log, port=config.port) if with_server else None
    rpc_server = _rpc_server(rpc, config) if with_server else None
    servers = [one for one in (server, rpc_server) if one is not None]
    first = [*operating, *before, *traces.services]
    lifecycle = Lifecycle(
        # The feed comes after the servers: streams end before a server waits for them.
        [*first, pool, *core.services, *guarding, *work.services, *servers, core.feed],
        log,
        drain_delay=config.drain_delay,
        shutdown_timeout=config.shutdown_timeout,
    )
    return Built(app, lifecycle, server, rpc_server, operations.server)


@dataclass(frozen=True, slots=True)
class Core:
    """The use cases, and what they stand on. ``redis`` is None unless something is kept there."""

    use: UseCases
    feed: RecordFeed
    redis: Redis | None
    cache: Aside[Record] | None
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
    pg_records = PgRecords(pool, written=recorder.notify, observer=observer)
    pg_accounts, pg_ledger = PgAccounts(pool, observer=observer), PgLedger(pool, observer=observer)
    pg_orders = PgOrders(pool, announced=announcer.notify, observer=observer)
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
    return Core(use, feed, redis, cache, coalescers, services)


def _cache(
    redis: Redis, config: Config, log: Logger, clock: SystemClock, observer: Observer | None
) -> Aside[Record]:
    return Aside(
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
    config: Config, redis: Redis | None, clock: SystemClock
) -> tuple[Guard, Sequence[Service]]:
    """The guard of both doors, and what it stands on."""
    jwks = _jwks(config, clock)
    keys: list[KeySource] = [*_secrets(config), *jwks]
    verifier = Verifier(keys, clock, issuer=config.jwt_issuer, audience=config.jwt_audience)
    if config.rate_limit == 0:
        return Guard(verifier, None), jwks
    limiter = RateLimiter(clock, rate=config.rate_limit)
    if redis is None or not config.rate_limit_shared:
        return Guard(verifier, limiter), jwks
    shared = SharedLimiter(redis, limiter, rate=config.rate_limit)
    return Guard(verifier, shared), [*jwks, shared]


def build_worker(
    config: Config,
    log: OperatedLog,
    *,
    before: Sequence[Service] = (),
    settings: Sequence[Row] = (),
) -> Built:
    """Wire what ``myservice worker`` needs. Parameters and errors as for `build`."""
    clock = SystemClock()
    pool = Pool(config.get_database_url(), max_size=config.max_db_conns, application_name="worker")
    traces = traces_of(config, log, service="myservice-worker")
    pg_orders = PgOrders(pool, observer=traces.observer)
    work = _work(config, pool, OrderService(pg_orders, clock, uuid7), log, traces.tracer)

    def draining() -> bool:
        return lifecycle.draining

    health = Health({"postgres": pool.ping, **work.checks}, log, draining=draining)
    operations = Operations(config, log, service="myservice worker")
    operations.watch(pool, pg_orders.coalescers)
    operations.watch_work(work.relays, work.consumers)
    operating = operations.services(health, settings)
    lifecycle = Lifecycle(
        [*operating, *before, *traces.services, pool, pg_orders, *work.services],
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


def _work(config: Config, pool: Pool, orders: OrderService, log: Logger, tracer: Tracer) -> Work:
    """The relay of the outbox and the consumer of orders."""
    stream = msgspec.structs.replace(ORDERS, replicas=config.nats_replicas)
    bus = NatsBus(config.get_nats_url(), log, name="myservice", streams=[stream], tracer=tracer)
    # It is told of every message; the look by itself is for a notification that was lost.
    relay = OutboxRelay(pool, bus, log, poll=1.0)
    listener = OutboxListener(
        lambda: listening(config.get_database_url(), _OUTBOX, log), relay.wake
    )
    consumer = NatsConsumer(
        bus, OrderProcessor(orders).process, log, type=OrderCreated,
        stream=stream.name, subjects=stream.subjects, replicas=stream.replicas, tracer=tracer,
    )  # fmt: skip
    return Work(
        [bus, relay, listener, InboxCleaner(pool, log), consumer],
        {"nats": bus.ping, "orders": consumer.ready},
        [relay],
        [consumer],
    )


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger for a command: start ``services`` in order, stop them in reverse."""

    services: Sequence[Service]
    service: AccountService
    audit: PgAudit


def build_books(config: Config) -> Books:
    """Wire what ``myservice ledger`` needs."""
    pool = Pool(config.get_database_url(), min_size=1, max_size=2, application_name="ledger")
    accounts, ledger = PgAccounts(pool), PgLedger(pool)
    service = AccountService(accounts, ledger, SystemClock(), uuid7)
    return Books([pool, accounts, ledger], service, PgAudit(pool))


@dataclass(frozen=True, slots=True)
class Graveyard:
    """The dead letters for a command: start ``services`` in order, stop them in reverse."""

    services: Sequence[Service]
    letters: DeadLetters


def build_graveyard(config: Config, log: Logger) -> Graveyard:
    """Wire what ``myservice dead`` needs."""
    bus = NatsBus(config.get_nats_url(), log, name="myservice dead")
    return Graveyard([bus], DeadLetters(bus, stream=dead_stream(replicas=config.nats_replicas)))


@dataclass(frozen=True, slots=True)
class Archive:
    """Import and export for a command: start ``services`` in order, stop them in reverse."""

    services: Sequence[Service]
    imports: ImportService
    exports: ExportService


def build_archive(config: Config, *, processes: int = 1) -> Archive:
    """Wire what ``myservice records`` needs."""
    pool = Pool(config.get_database_url(), min_size=1, max_size=2, application_name="records")
    records = PgRecords(pool)
    imports = ImportService(PgImports(pool), SystemClock(), uuid7, processes=processes)
    return Archive([pool, records], imports, ExportService(records))


def _server(app: App, config: Config, log: Logger, *, port: int) -> HttpServer:
    return HttpServer(
        app,
        log,
        host=config.host,
        port=port,
        reuse_port=config.reuse_port,
        read_timeout=config.read_timeout,
        write_timeout=config.write_timeout,
        idle_timeout=config.idle_timeout,
    )


def _rpc_server(app: RpcApp, config: Config) -> RpcServer:
    return RpcServer(
        app,
        host=config.host,
        port=config.grpc_port,
        max_message=config.max_body,
        reuse_port=config.reuse_port,
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
