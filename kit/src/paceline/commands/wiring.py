"""What a process is made of: each part is registered once, where it is built.

`Wiring.add` is all there is to do for a part: it is started in the order of registration and
stopped in reverse, its figures are in the metrics and on the admin port, its checks decide about
readiness. Servers are started last and told first to stop accepting, so nothing behind them stops
while a request can still come. Nothing is looked up here: a part is given what it needs by whoever
builds it. Rejected: lists of services, checks and figures side by side, which drift apart.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, runtime_checkable

from paceline.clock import SystemClock
from paceline.coalesce import Observer
from paceline.commands.admin import (
    AdminContext,
    AdminLog,
    Profiler,
    TaskAges,
    admin_app,
    require_token,
)
from paceline.commands.prefork import SupervisorLink, WorkerHandoff
from paceline.commands.settings import ServiceSettings
from paceline.commands.start_failure import ExternalServer
from paceline.commands.tls import ReloadOnHangup, tls_files, tls_paths
from paceline.commands.tls_fields import ADMIN, PUBLIC
from paceline.config import EffectiveSetting, format_duration
from paceline.errors import Code, Error
from paceline.health import Health, HealthCheck
from paceline.http import App, HttpServer, ServerLimits
from paceline.http.server import TlsFiles
from paceline.lifecycle import Lifecycle, OnShutdown, Service
from paceline.metrics import LoopLag, Metrics
from paceline.resilience import LoadShedder, RateLimiter
from paceline.stats import HasStats
from paceline.trace import BatchSpans, TraceExport, Tracer, otlp_sender, recording_span

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound="Server")
_PROFILE_TIMEOUT: Final = 90.0  # a profile takes up to a minute


class Server(Service, Protocol):
    """A server for requests."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    async def stop_accepting(self) -> None:
        """Take no new connections; those there are go on."""
        ...


@runtime_checkable
class Composite(Protocol):
    """A part that is made of parts, such as a repository of its coalescers."""

    @property
    def parts(self) -> Sequence[object]:
        """They, in the order in which they are to be started."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """Which process of a service this is.

    ``service``: the service's name. ``serves``: it answers requests. ``works``: it works off the
    queue. ``listens``: it has servers of its own; not so under a foreign ASGI server.
    ``settings``: what is in effect, for the admin port. ``before``: what must be up before
    anything else, such as engines and the schema. ``handoff``: of one of several workers, from its
    supervisor. ``hangup_reloads``: SIGHUP reads the files of TLS again, if there are any.
    """

    service: str
    version: str
    serves: bool = True
    works: bool = False
    listens: bool = True
    settings: Sequence[EffectiveSetting] = ()
    before: Sequence[Service] = ()
    handoff: WorkerHandoff | None = None
    hangup_reloads: bool = False

    @property
    def name(self) -> str:
        """How operators and databases see the process."""
        return self.service if self.serves else f"{self.service} worker"


@dataclass(frozen=True, slots=True)
class Process:
    """A process, wired and not yet started.

    ``app`` is what an ASGI server would run. ``servers`` by their names: "http", "grpc".
    ``needs``: parts, and the servers that they need.
    ``needed_scopes``: of each route and method.
    """

    app: App
    lifecycle: Lifecycle
    admin: HttpServer | None = None
    link: SupervisorLink | None = None
    servers: Mapping[str, Server] = field(default_factory=dict[str, Server])
    limits: Mapping[str, object] = field(default_factory=dict[str, object])
    needs: Sequence[tuple[object, ExternalServer]] = ()
    needed_scopes: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])


class Wiring:
    """The parts of one process, and what all of them share.

    For the parts' constructors: ``clock``, ``log``, ``tracer``, ``observer`` (of batches; None when
    nothing is traced), ``shedder``, ``health``, ``metrics`` (None when requests are not measured),
    ``tls`` (of HTTP and gRPC; None without).
    ``docs_extensions``: what is added to the OpenAPI document, see `paceline.http.add_docs`.

    Errors: Error(FAILED_PRECONDITION) when the admin port needs a token and there is none, and for
    files of TLS that cannot be used.
    """

    def __init__(self, config: ServiceSettings, log: AdminLog, spec: ProcessSpec) -> None:
        self.spec = spec
        self.log = log
        self.clock: SystemClock = SystemClock()
        self.app: App = App()
        self.limits: dict[str, object] = {}
        self.needed_scopes: dict[str, Collection[str]] = {}
        self.docs_extensions: dict[str, Callable[[], object]] = {}
        self._config = config
        self._services: list[Service] = []
        self._servers: dict[str, Server] = {}
        self._streams: list[Service] = []
        self._needs: list[tuple[object, ExternalServer]] = []
        self._lifecycle: Lifecycle | None = None
        self._metrics = Metrics(version=spec.version, exemplar=_recorded_trace)
        self.metrics: Metrics | None = (
            self._metrics if config.enable_metrics and spec.listens else None
        )
        self.health: Health = Health({}, log, draining=lambda: self._get_lifecycle().draining)
        self.link: SupervisorLink | None = (
            self.add(SupervisorLink(spec.handoff, on_retire=self._hand_over))
            if spec.handoff
            else None
        )
        # One of several workers listens to its supervisor only, which has the port and the token.
        public_admin = spec.handoff is None or spec.handoff.public_admin
        admin_tls = tls_files(tls_paths(config, ADMIN)) if spec.listens and public_admin else None
        self.tls: TlsFiles | None = (
            tls_files(tls_paths(config, PUBLIC)) if spec.listens and spec.serves else None
        )
        tls = [each for each in (self.tls, admin_tls) if each is not None]
        if tls and spec.hangup_reloads:
            self.add(ReloadOnHangup(tls, log))
        self.admin: HttpServer | None = (
            self._admin_server(admin_tls, is_public=public_admin) if spec.listens else None
        )
        for service in spec.before:
            self.add(service)
        self.tracer: Tracer
        self.observer: Observer | None
        self.tracer, self.observer = self._traces()
        self.shedder: LoadShedder = self.add(
            LoadShedder(
                self.clock, log, max_in_flight=config.max_in_flight, target_delay=config.shed_delay
            )
        )
        self.limits |= {
            "max_in_flight": config.max_in_flight,
            "shed_delay": format_duration(config.shed_delay),
        }

    def add(
        self,
        part: T,
        *,
        ready: Mapping[str, HealthCheck] | None = None,
        needs: ExternalServer | None = None,
    ) -> T:
        """Register ``part``, and give it back.

        ``ready``: checks by name; the process is ready when all pass. ``needs``: the server that it
        connects to, for what is told when that is away.

        Errors: TypeError for what can be neither started nor measured, and has no checks;
        RuntimeError after `finish`.
        """
        self._check_open()
        known = bool(ready)
        if isinstance(part, Composite):
            known = True
            for each in part.parts:
                self.add(each)
        if isinstance(part, Service):
            known = True
            self._services.append(part)
        if isinstance(part, HasStats):
            known = True
            for entry in part.stats_entries():
                self._metrics.stats_collector.add(entry)
        if needs is not None:
            self._needs.append((part, needs))
        for name, check in (ready or {}).items():
            self.health.add(name, check)
        if not known:
            raise TypeError(
                f"{type(part).__name__} cannot be started, measured or checked: it has no start and"
                " stop, no stats_entries and no parts, and no check was given (ready=)"
            )
        return part

    def add_server(self, server: ServerT) -> ServerT:
        """Register a server: started after all parts, stopped before them.

        Errors: RuntimeError after `finish`.
        """
        self._check_open()
        self._servers[server.name] = server
        return server

    def add_stream_source(self, part: T) -> T:
        """Register what open streams wait for: it is stopped before the servers.

        So the streams end before a server waits for them. Errors: TypeError as for `add`.
        """
        before = len(self._services)
        self.add(part)
        self._streams += self._services[before:]
        del self._services[before:]
        return part

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Everything up, for a foreign ASGI server."""
        async with self._get_lifecycle():
            yield

    def finish(self) -> Process:
        """The process. Nothing can be added afterwards."""
        servers = list(self._servers.values())
        stop_accepting = OnShutdown("listeners", *(one.stop_accepting for one in servers))
        lifecycle = self._lifecycle = Lifecycle(
            [*self._services, *servers, *self._streams, *([stop_accepting] if servers else [])],
            self.log,
            drain_delay=self._config.drain_delay,
            shutdown_timeout=self._config.shutdown_timeout,
        )
        routes = {f"{each.method} {each.pattern}": each.scopes for each in self.app.routes}
        return Process(
            self.app,
            lifecycle,
            self.admin,
            self.link,
            self._servers,
            self.limits,
            self._needs,
            self.needed_scopes | routes,
        )

    def _check_open(self) -> None:
        if self._lifecycle is not None:
            raise RuntimeError("the wiring is finished: register every part before")

    def _get_lifecycle(self) -> Lifecycle:
        if self._lifecycle is None:
            raise RuntimeError("the wiring is not finished")
        return self._lifecycle

    def _hand_over(self) -> None:
        self._get_lifecycle().hand_over()

    def _traces(self) -> tuple[Tracer, Observer | None]:
        """Without an endpoint nothing is recorded: ids are passed on, and stand in the logs."""
        config = self._config
        if config.otel_endpoint is None:
            return Tracer(ratio=config.trace_ratio), None
        service = self.spec.name.replace(" ", "-")
        try:
            connect = otlp_sender(config.otel_endpoint, service=service, version=self.spec.version)
        except ImportError as exc:
            raise Error(
                Code.FAILED_PRECONDITION, f"{config.variable('otel_endpoint')}: {exc}"
            ) from exc
        export = self.add(TraceExport(connect, self.log))
        rate = config.trace_limit
        limit = RateLimiter(self.clock, rate=rate) if rate else None
        tracer = self.add(Tracer(export.record, limit, ratio=config.trace_ratio))
        return tracer, BatchSpans()

    def _admin_server(self, tls: TlsFiles | None, *, is_public: bool) -> HttpServer:
        config, handoff = self._config, self.spec.handoff
        token = config.get_admin_token() if is_public else None
        if is_public:
            require_token(config.admin_host, token, variable=config.variable("admin_token"))
        tasks, profiler = TaskAges(), Profiler()
        context = AdminContext(
            self.spec.name,
            self.spec.version,
            self.health,
            metrics=self.metrics,
            settings=self.spec.settings,
            state=self._metrics.stats_collector.state,
            tasks=tasks,
            profiler=profiler,
            limits=self.limits,
            package=type(config).__module__.partition(".")[0],
        )
        self.app = admin_app(context, self.log, token=token)
        server = HttpServer(
            self.app,
            self.log,
            name=f"admin server ({config.variable('admin_port')})",
            host=config.admin_host,
            port=config.admin_port,
            listener=handoff.take_admin() if handoff else None,
            limits=ServerLimits(write_timeout=_PROFILE_TIMEOUT),
            tls=tls,
        )
        # Stopped in reverse: a profile that is being made ends before the server waits for it.
        for service in (server, LoopLag(self._metrics), tasks, profiler):
            self.add(service)
        return server


def _recorded_trace() -> str | None:
    """The id of the trace that is being recorded, for an exemplar."""
    span = recording_span()
    return None if span is None else span.trace_id
