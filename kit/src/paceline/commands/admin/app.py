"""The admin application: every path of the admin port.

``GET /``, ``/metrics``, ``/health``, ``/ready``, ``/config``, ``/debug/tasks``, ``/debug/profile``,
``/debug/state``, ``/debug/logs``; ``GET`` and ``PUT /log/level``. A browser gets pages that show
the same as tables (``browser``). Nothing here changes the service's data, and nothing costs
anything until it is requested. Requests are logged as the public application's are, those that
monitoring repeats at debug level. Its server is to be started before everything else, so that an
operator can see why a process does not become ready.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated, Protocol

import msgspec

from paceline.commands.admin.access import POLLED_PATHS, restrict_access
from paceline.commands.admin.browser import add_assets, with_pages
from paceline.commands.admin.flame import flame_policy
from paceline.commands.admin.profile import Profiler
from paceline.commands.admin.profile_page import profile_page
from paceline.commands.admin.tasks import TaskAges, TaskList
from paceline.config import EffectiveSetting
from paceline.health import Health
from paceline.http import App, Body, Page, Query, Scope, add_page, add_probes, headers_of
from paceline.http.middleware import access_log, recover, request_id
from paceline.log import Level, Logger, Tail
from paceline.metrics import Metrics


class AdminLog(Logger, Protocol):
    """A log whose level can be changed and whose last lines can be read: ``paceline.log.Log``."""

    @property
    def level(self) -> Level:
        """The least important records that are written."""
        ...

    @property
    def tail(self) -> Tail:
        """The last lines."""
        ...

    def set_level(self, level: Level) -> None:
        """Change it."""
        ...


@dataclass(frozen=True, slots=True)
class AdminContext:
    """What the admin port shows of a process. ``metrics`` None: it serves none.

    ``settings``: those in effect, secrets masked. ``state``: the figures, by group. ``limits``:
    those in effect, by name. ``package``: the service's own, for the colours of a flame graph.
    """

    service: str
    version: str
    health: Health
    metrics: Metrics | None
    settings: Sequence[EffectiveSetting]
    state: Callable[[], Mapping[str, object]]
    tasks: TaskAges
    profiler: Profiler
    limits: Mapping[str, object] = field(default_factory=dict[str, object])
    package: str = ""


class Overview(msgspec.Struct, frozen=True):
    """The process in short. ``metrics``: whether it measures requests."""

    service: str
    version: str
    pid: int
    uptime_seconds: float
    log_level: Level
    metrics: bool
    limits: Mapping[str, object]


class LogLevel(msgspec.Struct, frozen=True):
    """The least important records that are written."""

    level: Level


class LogLines(msgspec.Struct, frozen=True):
    """The last lines of the log; for those after them, request ``after`` = ``next``."""

    next: int
    lines: list[str]


class LogQuery(msgspec.Struct, frozen=True):
    """Which lines: those after that number."""

    after: Annotated[int, msgspec.Meta(ge=0)] = 0


def admin_app(context: AdminContext, log: AdminLog, *, token: str | None) -> App:
    """The application. ``token``: what requests must have; None for local ones only."""
    app = App(request_id(), access_log(log, debug_paths=POLLED_PATHS), recover(log))
    add_probes(app, context.health)
    add_assets(app)
    restricted = with_pages(restrict_access(token, log))
    if context.metrics is not None:
        add_page(app, "/metrics", _metrics_page(context.metrics), restricted)
    profile = profile_page(context.profiler, package=context.package)
    add_page(app, "/debug/profile", profile, restricted, policy=flame_policy())
    handlers = _Handlers(context, log)
    group = app.group("", restricted)
    group.get("/", handlers.overview)
    group.get("/log/level", handlers.level)
    group.put("/log/level", handlers.set_level)
    group.get("/config", handlers.settings)
    group.get("/debug/tasks", handlers.tasks)
    group.get("/debug/state", handlers.state)
    group.get("/debug/logs", handlers.logs)
    return app


class _Handlers:
    """The responses in JSON."""

    def __init__(self, context: AdminContext, log: AdminLog) -> None:
        self._context = context
        self._log = log
        self._began = monotonic()

    async def overview(self) -> Overview:
        """The process in short."""
        context = self._context
        return Overview(
            context.service,
            context.version,
            os.getpid(),
            self._uptime(),
            self._log.level,
            context.metrics is not None,
            context.limits,
        )

    async def level(self) -> LogLevel:
        """The log's level."""
        return LogLevel(self._log.level)

    async def set_level(self, body: Body[LogLevel]) -> LogLevel:
        """Change the log's level, until the process ends or it is changed again."""
        before = self._log.level
        self._log.set_level(body.level)
        # A warning, so that the log shows where its level changed, at nearly every level.
        self._log.warning("log level changed", before=before, after=body.level)
        return LogLevel(self._log.level)

    async def settings(self) -> Sequence[EffectiveSetting]:
        """The settings in effect and where each came from; secrets are masked."""
        return self._context.settings

    async def tasks(self) -> TaskList:
        """Every task of the event loop."""
        return self._context.tasks.list()

    async def state(self) -> dict[str, object]:
        """What this process is, and the figures of everything that is watched."""
        context = self._context
        return {
            "service": context.service,
            "version": context.version,
            "pid": os.getpid(),
            "uptime_seconds": self._uptime(),
            **context.state(),
        }

    async def logs(self, query: Query[LogQuery]) -> LogLines:
        """The log's last lines."""
        number, lines = self._log.tail.after(query.after)
        return LogLines(number, lines)

    def _uptime(self) -> float:
        return round(monotonic() - self._began, 3)


def _metrics_page(metrics: Metrics) -> Callable[[Scope], Page]:
    async def page(scope: Scope) -> tuple[bytes, str]:
        return await metrics.scrape(headers_of(scope).get(b"accept", b"").decode("latin-1"))

    return page
