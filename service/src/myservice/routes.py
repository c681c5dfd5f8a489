"""The doors: HTTP and gRPC, what a request passes on its way in, and where it arrives.

Both have the same guard and the same use cases, in the same order of duties, so what is refused at
one door is refused at the other. Adapters are built and given by ``main``; nothing here opens or
waits for anything. A request goes on in ``handler.http`` or ``handler.grpc``.
"""

from dataclasses import dataclass
from typing import Final

from myservice import __version__
from myservice.config import Config
from myservice.handler.accounts_grpc import AccountRpc
from myservice.handler.accounts_http import STATUSES as ACCOUNT_STATUSES
from myservice.handler.accounts_http import AccountHandler
from myservice.handler.orders_http import OrderHandler
from myservice.handler.records_grpc import RecordRpc
from myservice.handler.records_http import STATUSES as RECORD_STATUSES
from myservice.handler.records_http import RecordHandler
from myservice.handler.updates_http import UpdateHandler
from myservice.service.accounts import AccountService
from myservice.service.orders import OrderService
from myservice.service.records import RecordService
from myservice.service.updates import RecordUpdates
from paceline.auth import Verifier
from paceline.clock import Clock
from paceline.grpc import HEALTH_METHODS, RpcApp, add_health, add_reflection
from paceline.grpc import interceptors as rpc
from paceline.health import Health
from paceline.http import App, Lifespan, add_docs, add_probes
from paceline.http.middleware import (
    PreAdmission,
    access_log,
    authenticate,
    classify_by_method,
    metrics,
    rate_limit,
    real_ip,
    recover,
    request_id,
    shed,
    timeout,
    trace,
)
from paceline.log import Logger
from paceline.metrics import Metrics
from paceline.resilience import Admission, RateLimits
from paceline.trace import Tracer

STATUSES: Final = {**RECORD_STATUSES, **ACCOUNT_STATUSES}
PROBES: Final = ("/health", "/ready")
_PRIORITY: Final = classify_by_method(
    health=PROBES, background=("/docs", "/openapi.json", "/api/v1/records/updates")
)
_RPC_PRIORITY: Final = rpc.classify_by_scope(health=HEALTH_METHODS)
_BY: Final = f"the service sets ({Config.variable('request_timeout')})"


@dataclass(frozen=True, slots=True)
class UseCases:
    """What a request can ask for."""

    records: RecordService
    accounts: AccountService
    orders: OrderService
    updates: RecordUpdates


@dataclass(frozen=True, slots=True)
class Ingress:
    """Who comes in, how often, and whether there is room: the same for both doors."""

    verifier: Verifier
    limits: RateLimits
    http: Admission
    grpc: Admission

    def pre_admission(self) -> PreAdmission:
        """The HTTP server's check of a request before there is a task for it."""
        return PreAdmission(self.http, _PRIORITY)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What is seen of each request. No ``measured``: nobody counts."""

    tracer: Tracer
    measured: Metrics | None


def http_app(
    config: Config,
    use: UseCases,
    guard: Ingress,
    telemetry: Telemetry,
    *,
    health: Health,
    clock: Clock,
    log: Logger,
    lifespan: Lifespan,
) -> App:
    """HTTP: every route of the service, under its middleware."""
    # Middleware stack: order matters, the first is the outermost.
    app = App(
        shed(guard.http, _PRIORITY),
        request_id(),
        trace(telemetry.tracer, skip_paths=PROBES),
        real_ip(config.trusted_proxies),
        access_log(log, debug_paths=PROBES),
        *([] if telemetry.measured is None else [metrics(telemetry.measured)]),
        recover(log, statuses=STATUSES),
        timeout(config.request_timeout, by=_BY),
        max_body=config.max_body,
        statuses=STATUSES,
        lifespan=lifespan,
    )
    api = app.group("/api/v1", authenticate(guard.verifier), rate_limit(guard.limits))
    RecordHandler(use.records).register(api)
    UpdateHandler(use.updates, clock).register(api)
    AccountHandler(use.accounts).register(api)
    OrderHandler(use.orders).register(api)
    add_probes(app, health)
    add_docs(app, title="myservice", version=__version__)
    return app


def rpc_app(
    config: Config,
    use: UseCases,
    guard: Ingress,
    telemetry: Telemetry,
    *,
    health: Health,
    clock: Clock,
    log: Logger,
) -> RpcApp:
    """gRPC: every method of the service, under its interceptors."""
    # The same order here; streams are counted and ended inside all of them.
    app = RpcApp(
        rpc.shed(guard.grpc, _RPC_PRIORITY, domain="myservice"),
        rpc.request_id(),
        rpc.trace(telemetry.tracer, skip_paths=HEALTH_METHODS),
        rpc.access_log(log, debug_paths=HEALTH_METHODS),
        *([] if telemetry.measured is None else [rpc.metrics(telemetry.measured)]),
        rpc.recover(log, domain="myservice"),
        rpc.deadline(config.request_timeout, by=_BY),
        rpc.authenticate(guard.verifier, clock),
        rpc.rate_limit(guard.limits),
    )
    RecordRpc(use.records, use.updates).register(app)
    AccountRpc(use.accounts).register(app)
    add_health(app, health)
    if config.grpc_reflection:
        add_reflection(app)
    return app
