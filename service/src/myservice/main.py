"""The composition root: the only file that builds adapters and wires them.

Read it from top to bottom and you know the whole service: what depends on what, in which order
things start (and, in reverse, stop), which middleware a request passes. Nothing here does I/O;
`Built.lifecycle` does, when it is run. ``cli`` and ``asgi`` call `build`; a request then goes
``handler.http``, ``service.records``, ``repository.records``.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from myservice import __version__
from myservice.config import Config
from myservice.domain.records import Record, RecordNotFound
from myservice.handler.accounts import STATUSES as ACCOUNT_STATUSES
from myservice.handler.accounts import AccountHandler
from myservice.handler.http import STATUSES as RECORD_STATUSES
from myservice.handler.http import RecordHandler
from myservice.handler.probes import ProbeHandler
from myservice.repository.accounts import PgAccounts
from myservice.repository.audit import PgAudit
from myservice.repository.cached_records import CachedRecords
from myservice.repository.imports import PgImports
from myservice.repository.ledger import PgLedger
from myservice.repository.records import PgRecords
from myservice.service.accounts import AccountService
from myservice.service.exports import ExportService
from myservice.service.imports import ImportService
from myservice.service.records import RecordService
from paceline.auth import JwksSource, KeySource, Secrets, Verifier, fetch_from
from paceline.cache import Aside, Redis, RedisStore, SharedLimiter
from paceline.clock import SystemClock
from paceline.health import Health
from paceline.lifecycle import Lifecycle, Service
from paceline.limit import RateLimiter
from paceline.log import Logger
from paceline.pg import Pool, uuid7
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


@dataclass(frozen=True, slots=True)
class Built:
    """The service, wired and not yet started. ``server`` is None under a foreign ASGI server."""

    app: App
    lifecycle: Lifecycle
    server: HttpServer | None


def build(
    config: Config,
    log: Logger,
    *,
    before: Sequence[Service] = (),
    with_server: bool = True,
) -> Built:
    """Wire everything. ``before``: what must be up first, such as the schema."""
    clock = SystemClock()
    pool = Pool(
        config.get_database_url(), max_size=config.max_db_conns, application_name="myservice"
    )
    pg_records, pg_accounts, pg_ledger = PgRecords(pool), PgAccounts(pool), PgLedger(pool)
    redis = (
        Redis(config.get_redis_url(), log, clock, timeout=config.redis_timeout)
        if (config.cache or config.rate_limit_shared)
        else None
    )
    cache = _cache(redis, config, log, clock) if redis and config.cache else None
    records = RecordService(CachedRecords(pg_records, cache) if cache else pg_records, clock, uuid7)
    accounts = AccountService(pg_accounts, pg_ledger, clock, uuid7)

    jwks = _jwks(config, clock)
    keys: list[KeySource] = [*_secrets(config), *jwks]
    verifier = Verifier(keys, clock, issuer=config.jwt_issuer, audience=config.jwt_audience)
    api_middleware: list[Middleware] = [authenticate(verifier)]
    shared_limiter: SharedLimiter | None = None
    if config.rate_limit > 0:
        limiter = RateLimiter(clock, rate=config.rate_limit)
        if redis and config.rate_limit_shared:
            shared_limiter = SharedLimiter(redis, limiter, rate=config.rate_limit)
        api_middleware.append(rate_limit(shared_limiter or limiter, group="api"))

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
    AccountHandler(accounts).register(api)
    health = Health({"postgres": pool.ping}, log, draining=draining)
    ProbeHandler(health).register(app)
    add_docs(app, title="myservice", version=__version__)

    services: list[Service] = [*before, pool, pg_records, pg_accounts, pg_ledger, *jwks]
    services += [service for service in (redis, cache, shared_limiter) if service is not None]
    server = _server(app, config, log) if with_server else None
    if server is not None:
        services.append(server)
    lifecycle = Lifecycle(
        services,
        log,
        drain_delay=config.drain_delay,
        shutdown_timeout=config.shutdown_timeout,
    )
    return Built(app, lifecycle, server)


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


def _server(app: App, config: Config, log: Logger) -> HttpServer:
    return HttpServer(
        app,
        log,
        host=config.host,
        port=config.port,
        reuse_port=config.reuse_port,
        read_timeout=config.read_timeout,
        write_timeout=config.write_timeout,
        idle_timeout=config.idle_timeout,
    )


def _cache(redis: Redis, config: Config, log: Logger, clock: SystemClock) -> Aside[Record]:
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
