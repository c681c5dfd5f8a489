"""The composition root: the whole service, wired from its parts, one function a resource.

Invariant: a part is registered where it is built (`Wiring.add`), so it is started and stopped in
order, measured, shown on the admin port, and checked by ``/ready``. Nothing here does I/O.
"""

from typing import Final

from myservice.config import Config
from myservice.domain.orders import OrderCreated
from myservice.domain.records import Record, RecordNotFound
from myservice.handler.accounts_grpc import AccountRpc
from myservice.handler.accounts_http import STATUSES as ACCOUNT_STATUSES
from myservice.handler.accounts_http import AccountHandler
from myservice.handler.orders_http import OrderHandler
from myservice.handler.record_updates_http import UPDATES, RecordUpdateHandler
from myservice.handler.records_grpc import RecordRpc
from myservice.handler.records_http import RecordHandler
from myservice.repository.accounts import PgAccounts
from myservice.repository.cached_records import CachedRecords
from myservice.repository.ledger import PgLedger
from myservice.repository.orders import PgOrders
from myservice.repository.payments import CONSUMER
from myservice.repository.record_changes import CHANNEL, PgRecordChanges
from myservice.repository.records import PgRecords
from myservice.service.accounts import AccountService
from myservice.service.orders import OrderService
from myservice.service.record_changes_retention import RecordChangesRetention
from myservice.service.record_updates import RecordFeed
from myservice.service.records import RecordRepository, RecordService
from myservice.worker.orders import ORDERS_STREAM, OrderProcessor
from paceline.commands import (
    Wiring,
    add_nats,
    add_postgres,
    add_redis,
    api_group,
    new_ingress,
    serve_docs,
    serve_grpc,
    serve_http,
)
from paceline.messaging.nats import NatsConsumer, NatsSubscription
from paceline.postgres import Notifier, Pool, ReadPolicy, listening, uuid7
from paceline.postgres.inbox import InboxCleaner
from paceline.postgres.outbox import OutboxListener, OutboxRelay
from paceline.redis import CacheAside, CacheSettings, Redis, RedisStore

_API: Final = "/api/v1"
_OUTBOX: Final = "outbox"
"""The channel of PostgreSQL on which `serve` notifies `worker` of new messages."""


def build(config: Config, wiring: Wiring) -> None:
    """Wire a process: `serve` answers requests, `worker` pays orders, `run` does both."""
    pool, reads = add_postgres(wiring, config)
    redis = add_redis(wiring, config)
    orders = _orders(wiring, pool, reads)
    if wiring.spec.works:
        _order_worker(config, wiring, pool, orders)
    if not wiring.spec.serves:
        return
    accounts = _accounts(wiring, pool, reads)
    records = _records(config, wiring, pool, reads, redis)
    updates = _record_updates(config, wiring, pool)
    shared = redis if config.rate_limit_shared else None
    ingress = new_ingress(wiring, config, scope_limits=config.rate_limits, redis=shared)
    app = serve_http(
        wiring,
        config,
        ingress,
        statuses=ACCOUNT_STATUSES,
        background=[f"{_API}{UPDATES}"],
    )
    api = api_group(app, _API, ingress)
    RecordHandler(records).register(api)
    RecordUpdateHandler(updates, wiring.clock).register(api)
    AccountHandler(accounts).register(api)
    OrderHandler(orders).register(api)
    serve_docs(wiring, app)
    serve_grpc(wiring, config, ingress, RecordRpc(records, updates), AccountRpc(accounts))


def _records(
    config: Config, wiring: Wiring, pool: Pool, reads: ReadPolicy, redis: Redis | None
) -> RecordService:
    notifier = wiring.add(Notifier(pool, CHANNEL))
    records: RecordRepository = wiring.add(
        PgRecords(pool, reads, on_commit=notifier.notify, observer=wiring.observer)
    )
    if redis is not None and config.cache:
        cache = CacheAside(
            RedisStore(redis, name="records"),
            wiring.log,
            wiring.clock,
            name="records",
            type=Record,
            settings=CacheSettings(
                ttl=config.cache_ttl,
                # A cancelled caller's change runs until the last call of its batch times out.
                block_ttl=2 * config.request_timeout,
            ),
            negative=RecordNotFound,
            observer=wiring.observer,
        )
        records = CachedRecords(records, wiring.add(cache))
    return RecordService(records, wiring.clock, uuid7)


def _record_updates(config: Config, wiring: Wiring, pool: Pool) -> RecordFeed:
    changes = PgRecordChanges(pool)
    wiring.add(RecordChangesRetention(changes, wiring.log))
    dsn = config.get_database_url()
    return wiring.add_stream_source(
        RecordFeed(changes, lambda: listening(dsn, CHANNEL, wiring.log), wiring.clock, wiring.log)
    )


def _accounts(wiring: Wiring, pool: Pool, reads: ReadPolicy) -> AccountService:
    accounts = wiring.add(PgAccounts(pool, reads, observer=wiring.observer))
    ledger = wiring.add(PgLedger(pool, observer=wiring.observer))
    return AccountService(accounts, ledger, wiring.clock, uuid7)


def _orders(wiring: Wiring, pool: Pool, reads: ReadPolicy) -> OrderService:
    notifier = wiring.add(Notifier(pool, _OUTBOX))
    orders = wiring.add(PgOrders(pool, reads, on_commit=notifier.notify, observer=wiring.observer))
    return OrderService(orders, wiring.clock, uuid7)


def _order_worker(config: Config, wiring: Wiring, pool: Pool, orders: OrderService) -> None:
    """The relay of the outbox, and the consumer of orders, which slows down under load."""
    log, dsn = wiring.log, config.get_database_url()
    bus = add_nats(wiring, config, [ORDERS_STREAM])
    # It is woken for every message; it polls for the case that a notification is lost.
    relay = wiring.add(OutboxRelay(pool, bus, log, poll_interval=1.0))
    wiring.add(OutboxListener(lambda: listening(dsn, _OUTBOX, log), relay.wake))
    wiring.add(InboxCleaner(pool, log))
    consumer = NatsConsumer(
        bus, OrderProcessor(orders).process, log, type=OrderCreated,
        subscription=NatsSubscription(
            ORDERS_STREAM.name, ORDERS_STREAM.subjects,
            durable=CONSUMER, replicas=config.nats_replicas,
        ),
        tracer=wiring.tracer, backpressure=wiring.shedder,
    )  # fmt: skip
    wiring.add(consumer, ready={"orders": consumer.ready})
