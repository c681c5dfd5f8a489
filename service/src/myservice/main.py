"""The composition root: the whole service, wired from its parts, one function a resource.

Invariant: a part is registered where it is built (`Wiring.add`), so it is started and stopped in
order, measured, shown on the admin port, and checked by ``/ready``. Nothing here does I/O.
"""

from typing import Final

import paceline.messaging.nats as nats_room  # paceline: only full
import paceline.redis as redis_room  # paceline: only redis
from myservice.config import Config
from myservice.domain.orders import OrderCreated  # paceline: only full
from myservice.domain.records import Record, RecordNotFound  # paceline: only redis
from myservice.handler.accounts_grpc import AccountRpc  # paceline: only full
from myservice.handler.accounts_http import AccountHandler  # paceline: only full
from myservice.handler.orders_http import OrderHandler  # paceline: only full
from myservice.handler.record_updates_grpc import RecordUpdateRpc  # paceline: only full
from myservice.handler.record_updates_http import PATH as UPDATES  # paceline: only full
from myservice.handler.record_updates_http import RecordUpdateHandler  # paceline: only full
from myservice.handler.records_grpc import RecordRpc  # paceline: only grpc
from myservice.handler.records_http import RecordHandler
from myservice.repository.accounts import PgAccounts  # paceline: only full
from myservice.repository.cached_records import CachedRecords  # paceline: only redis
from myservice.repository.ledger import PgLedger  # paceline: only full
from myservice.repository.orders import PgOrders  # paceline: only full
from myservice.repository.payments import CONSUMER  # paceline: only full
from myservice.repository.record_changes import CHANNEL, PgRecordChanges  # paceline: only full
from myservice.repository.records import PgRecords
from myservice.service.accounts import AccountService  # paceline: only full
from myservice.service.orders import OrderService  # paceline: only full
from myservice.service.record_changes_retention import RecordChangesRetention  # paceline: only full
from myservice.service.record_updates import RecordFeed  # paceline: only full
from myservice.service.records import RecordRepository, RecordService
from myservice.worker.orders import ORDERS_STREAM, OrderProcessor  # paceline: only full
from paceline.commands import (
    Wiring,
    add_nats,  # paceline: only nats
    add_postgres,
    add_redis,  # paceline: only redis
    api_group,
    new_ingress,
    serve_docs,
    serve_grpc,  # paceline: only grpc
    serve_http,
)
from paceline.postgres import (
    Notifier,  # paceline: only full
    Pool,
    ReadPolicy,
    RowCleaner,
    listening,  # paceline: only nats
    uuid7,
)
from paceline.postgres.inbox import InboxCleaner  # paceline: only nats
from paceline.postgres.outbox import OutboxListener, OutboxRelay  # paceline: only nats

_API: Final = "/api/v1"
# paceline: only nats {
_OUTBOX: Final = "outbox"
"""The channel of PostgreSQL on which `serve` notifies `worker` of new messages."""
# paceline: }


def build(config: Config, wiring: Wiring) -> None:
    """Wire a process, by what it is for: answering requests, working off the queue, or both."""
    pool, reads = add_postgres(wiring, config)
    wiring.add(RowCleaner(pool, wiring.log, "idempotency_answers", keep=config.idempotency_keep))
    # paceline: only full {
    wiring.add(RowCleaner(pool, wiring.log, "idempotency_keys", keep=config.idempotency_keep))
    # paceline: }
    redis = add_redis(wiring, config)  # paceline: only redis
    orders = _orders(wiring, pool, reads)  # paceline: only full
    # paceline: only nats {
    if wiring.spec.works:
        _worker(
            config,
            wiring,
            pool,
            orders,  # paceline: only full
        )
    # paceline: }
    if not wiring.spec.serves:
        return
    accounts = _accounts(wiring, pool, reads)  # paceline: only full
    records = _records(
        wiring,
        pool,
        reads,
        config,  # paceline: only redis
        redis,  # paceline: only redis
    )
    updates = _record_updates(config, wiring, pool)  # paceline: only full
    # paceline: resources
    ingress = new_ingress(
        wiring,
        config,
        scope_limits=config.rate_limits,
        redis=redis if config.rate_limit_shared else None,  # paceline: only redis
    )
    app = serve_http(
        wiring,
        config,
        ingress,
        background=[f"{_API}{UPDATES}"],  # paceline: only full
    )
    api = api_group(app, _API, ingress)
    RecordHandler(records).register(api)
    RecordUpdateHandler(updates, wiring.clock).register(api)  # paceline: only full
    AccountHandler(accounts).register(api)  # paceline: only full
    OrderHandler(orders).register(api)  # paceline: only full
    # paceline: routes
    serve_docs(wiring, app)
    # paceline: only grpc {
    serve_grpc(
        wiring,
        config,
        ingress,
        RecordRpc(
            records,
            RecordUpdateRpc(updates).stream_updates,  # paceline: only full
        ),
        AccountRpc(accounts),  # paceline: only full
        # paceline: rpcs
    )
    # paceline: }


def _records(
    wiring: Wiring,
    pool: Pool,
    reads: ReadPolicy,
    config: Config,  # paceline: only redis
    redis: "redis_room.Redis | None",  # paceline: only redis
) -> RecordService:
    notifier = wiring.add(Notifier(pool, CHANNEL))  # paceline: only full
    records: RecordRepository = wiring.add(
        PgRecords(
            pool,
            reads,
            on_commit=notifier.notify,  # paceline: only full
            observer=wiring.observer,
        )
    )
    # paceline: only redis {
    if redis is not None and config.cache:
        cache = redis_room.CacheAside(
            redis_room.RedisStore(redis, name="records"),
            wiring.log,
            wiring.clock,
            name="records",
            type=Record,
            settings=redis_room.CacheSettings(ttl=config.cache_ttl),
            negative=RecordNotFound,
            observer=wiring.observer,
        )
        records = CachedRecords(records, wiring.add(cache))
    # paceline: }
    return RecordService(records, wiring.clock, uuid7)


# paceline: only full {
def _record_updates(config: Config, wiring: Wiring, pool: Pool) -> RecordFeed:
    changes = PgRecordChanges(pool)
    wiring.add(RecordChangesRetention(changes, wiring.log, keep=config.changes_keep))
    dsn = config.get_direct_url()
    return wiring.add_stream_source(
        RecordFeed(
            changes,
            lambda: listening(dsn, CHANNEL, wiring.log),
            wiring.clock,
            wiring.log,
            max_per_caller=config.streams_per_caller,
        )
    )


def _accounts(wiring: Wiring, pool: Pool, reads: ReadPolicy) -> AccountService:
    accounts = wiring.add(PgAccounts(pool, reads, observer=wiring.observer))
    ledger = wiring.add(PgLedger(pool, observer=wiring.observer))
    return AccountService(accounts, ledger, wiring.clock, uuid7)


def _orders(wiring: Wiring, pool: Pool, reads: ReadPolicy) -> OrderService:
    notifier = wiring.add(Notifier(pool, _OUTBOX))
    orders = wiring.add(PgOrders(pool, reads, on_commit=notifier.notify, observer=wiring.observer))
    return OrderService(orders, wiring.clock, uuid7)


# paceline: }
# paceline: only nats {
def _worker(
    config: Config,
    wiring: Wiring,
    pool: Pool,
    orders: OrderService,  # paceline: only full
) -> None:
    """The relay of the outbox, and the consumers, which slow down under load."""
    log, dsn = wiring.log, config.get_direct_url()
    bus = add_nats(
        wiring,
        config,
        [
            ORDERS_STREAM,  # paceline: only full
            # paceline: streams
        ],
    )
    # It is woken for every message; it polls for the case that a notification is lost.
    relay = OutboxRelay(pool, bus, log, poll_interval=1.0)
    wiring.add(relay, ready={"outbox": relay.ready})
    wiring.add(OutboxListener(lambda: listening(dsn, _OUTBOX, log), relay.wake))
    wiring.add(InboxCleaner(pool, log, keep=config.inbox_keep))
    # paceline: only full {
    consumer = nats_room.NatsConsumer(
        bus, OrderProcessor(orders).process, log, type=OrderCreated,
        subscription=nats_room.NatsSubscription(
            ORDERS_STREAM.name, ORDERS_STREAM.subjects,
            durable=CONSUMER, replicas=config.nats_replicas,
        ),
        tracer=wiring.tracer, backpressure=wiring.shedder,
    )  # fmt: skip
    wiring.add(consumer, ready={"orders": consumer.ready})
    # paceline: }
    # paceline: consumers


# paceline: }
# paceline: builders
