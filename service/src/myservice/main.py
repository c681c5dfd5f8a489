"""The composition root: the only file that builds adapters and wires them.

Read it from top to bottom and you know the whole service: what depends on what, in which order
things start (and, in reverse, stop), which middleware a request passes. Nothing here does I/O;
`Built.lifecycle` does, when it is run. ``cli`` and ``asgi`` call `build`; a request then goes
``handler.http``, ``service.records``, ``repository.records``.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from myservice import __version__
from myservice.config import Config
from myservice.domain.orders import OrderCreated
from myservice.handler.accounts import STATUSES as ACCOUNT_STATUSES
from myservice.handler.accounts import AccountHandler
from myservice.handler.grpc import RecordRpc
from myservice.handler.grpc_accounts import AccountRpc
from myservice.handler.http import STATUSES as RECORD_STATUSES
from myservice.handler.http import RecordHandler
from myservice.handler.orders import OrderHandler
from myservice.handler.probes import ProbeHandler
from myservice.handler.updates import UpdateHandler
from myservice.repository.accounts import PgAccounts
from myservice.repository.audit import PgAudit
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
from myservice.worker.orders import OrderProcessor
from paceline.auth import JwksSource, KeySource, Secrets, Verifier, fetch_from
from paceline.bus import DeadLetters, NatsBus, NatsConsumer, Stream, dead_stream
from paceline.clock import SystemClock
from paceline.health import Check, Health
from paceline.inbox import InboxCleaner
from paceline.lifecycle import Lifecycle, Service
from paceline.limit import RateLimiter
from paceline.log import Logger
from paceline.outbox import OutboxListener, OutboxRelay
from paceline.pg import Notifier, Pool, listening, uuid7
from paceline.rpc import interceptors as rpc
from paceline.rpc.app import RpcApp
from paceline.rpc.health import PROBES as RPC_PROBES
from paceline.rpc.health import add_health
from paceline.rpc.reflection import add_reflection
from paceline.rpc.server import RpcServer
from paceline.web.app import App
from paceline.web.asgi import Middleware
from paceline.web.docs import add_docs
from paceline.web.middleware import (
    access_log,
    authenticate,
    rate_limit,
    real_ip,
    recover,
    request_id,
    timeout,
)
from paceline.web.server import HttpServer

STATUSES: Final = {**RECORD_STATUSES, **ACCOUNT_STATUSES}
PROBES: Final = ("/health", "/ready")
ORDERS: Final = Stream("ORDERS", ("orders.>",))
"""The stream of the orders' messages; its durable consumer is ``order-processor``."""
_OUTBOX: Final = "outbox"
"""The channel of PostgreSQL on which `serve` tells `worker` that there is something to send."""


@dataclass(frozen=True, slots=True)
class Built:
    """The service, wired and not yet started.

    Under a foreign ASGI server there is neither ``server`` nor ``rpc_server``.
    """

    app: App
    lifecycle: Lifecycle
    server: HttpServer | None
    rpc_server: RpcServer | None


def build(
    config: Config,
    log: Logger,
    *,
    before: Sequence[Service] = (),
    with_server: bool = True,
    with_worker: bool = False,
) -> Built:
    """Wire everything. ``before``: what must be up first, such as the schema."""
    clock = SystemClock()
    pool = Pool(
        config.get_database_url(), max_size=config.max_db_conns, application_name="myservice"
    )
    notifier = Notifier(pool, CHANNEL)
    pg_records = PgRecords(pool, written=notifier.notify)
    pg_accounts, pg_ledger = PgAccounts(pool), PgLedger(pool)
    changes = PgChanges(pool)
    feed = RecordFeed(
        changes, lambda: listening(config.get_database_url(), CHANNEL, log), clock, log
    )
    records = RecordService(pg_records, clock, uuid7)
    accounts = AccountService(pg_accounts, pg_ledger, clock, uuid7)
    announcer = Notifier(pool, _OUTBOX)
    pg_orders = PgOrders(pool, announced=announcer.notify)
    orders = OrderService(pg_orders, clock, uuid7)

    jwks = _jwks(config, clock)
    keys: list[KeySource] = [*_secrets(config), *jwks]
    verifier = Verifier(keys, clock, issuer=config.jwt_issuer, audience=config.jwt_audience)
    api_middleware: list[Middleware] = [authenticate(verifier)]
    rpc_interceptors = [
        rpc.request_id(),
        rpc.access_log(log, quiet=RPC_PROBES),
        rpc.recover(log, domain="myservice"),
        rpc.deadline(config.request_timeout),
        rpc.authenticate(verifier, clock),
    ]
    if config.rate_limit > 0:
        limiter = RateLimiter(clock, rate=config.rate_limit)  # one bucket a caller, for both doors
        api_middleware.append(rate_limit(limiter))
        rpc_interceptors.append(rpc.rate_limit(limiter))

    def draining() -> bool:
        return lifecycle.draining

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        async with lifecycle:
            yield

    # Middleware stack: order matters, the first is the outermost.
    app = App(
        request_id(),
        real_ip(config.trusted_proxies),
        access_log(log, quiet=PROBES),
        recover(log, statuses=STATUSES),
        timeout(config.request_timeout),
        max_body=config.max_body,
        statuses=STATUSES,
        lifespan=lifespan,
    )
    api = app.group("/api/v1", *api_middleware)
    RecordHandler(records).register(api)
    UpdateHandler(feed, clock).register(api)
    AccountHandler(accounts).register(api)
    OrderHandler(orders).register(api)
    work = _work(config, pool, orders, log) if with_worker else Work([], {})
    health = Health({"postgres": pool.ping, **work.checks}, log, draining=draining)
    ProbeHandler(health).register(app)
    add_docs(app, title="myservice", version=__version__)

    # The same order here; streams are counted and ended inside all of them.
    rpc_app = RpcApp(*rpc_interceptors)
    RecordRpc(records, feed).register(rpc_app)
    AccountRpc(accounts).register(rpc_app)
    add_health(rpc_app, health)
    if config.grpc_reflection:
        add_reflection(rpc_app)

    services: list[Service] = [
        *before, pool, notifier, announcer, pg_records, pg_accounts, pg_ledger, pg_orders,
        Retention(changes, log), *jwks, *work.services,
    ]  # fmt: skip
    server = _server(app, config, log, port=config.port) if with_server else None
    rpc_server = _rpc_server(rpc_app, config) if with_server else None
    services += [one for one in (server, rpc_server) if one is not None]
    services.append(feed)  # after the servers: streams end before a server waits for them
    lifecycle = Lifecycle(
        services,
        log,
        drain_delay=config.drain_delay,
        shutdown_timeout=config.shutdown_timeout,
    )
    return Built(app, lifecycle, server, rpc_server)


def build_worker(config: Config, log: Logger, *, before: Sequence[Service] = ()) -> Built:
    """Wire what ``myservice worker`` needs; its application has the probes only."""
    clock = SystemClock()
    pool = Pool(config.get_database_url(), max_size=config.max_db_conns, application_name="worker")
    pg_orders = PgOrders(pool)
    work = _work(config, pool, OrderService(pg_orders, clock, uuid7), log)

    def draining() -> bool:
        return lifecycle.draining

    app = App(request_id(), access_log(log, quiet=PROBES), recover(log))
    health = Health({"postgres": pool.ping, **work.checks}, log, draining=draining)
    ProbeHandler(health).register(app)
    server = _server(app, config, log, port=config.admin_port)
    lifecycle = Lifecycle(
        [*before, pool, pg_orders, *work.services, server],
        log,
        drain_delay=config.drain_delay,
        shutdown_timeout=config.shutdown_timeout,
    )
    return Built(app, lifecycle, server, None)


@dataclass(frozen=True, slots=True)
class Work:
    """What works in the background: to be started in order, and asked whether it is ready."""

    services: Sequence[Service]
    checks: Mapping[str, Check]


def _work(config: Config, pool: Pool, orders: OrderService, log: Logger) -> Work:
    """The relay of the outbox and the consumer of orders."""
    stream = msgspec.structs.replace(ORDERS, replicas=config.nats_replicas)
    bus = NatsBus(config.get_nats_url(), log, name="myservice", streams=[stream])
    # It is told of every message; the look by itself is for a notification that was lost.
    relay = OutboxRelay(pool, bus, log, poll=1.0)
    listener = OutboxListener(
        lambda: listening(config.get_database_url(), _OUTBOX, log), relay.wake
    )
    consumer = NatsConsumer(
        bus, OrderProcessor(orders).process, log, type=OrderCreated,
        stream=stream.name, subjects=stream.subjects, replicas=stream.replicas,
    )  # fmt: skip
    return Work(
        [bus, relay, listener, InboxCleaner(pool, log), consumer],
        {"nats": bus.ping, "orders": consumer.ready},
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
