"""The admin application: every path of the admin port, and who may ask for it.

``GET /metrics``, ``/health``, ``/ready``, ``/config``, ``/debug/tasks``, ``/debug/profile``,
``/debug/state``, ``/debug/logs``; ``GET`` and ``PUT /log/level``. Nothing here changes what the
service does to its data, and nothing costs anything until it is asked for. It logs as the public
application does, each path that machines ask for again and again at debug level. Served by an
``HttpServer`` of its own, which ``main`` starts before everything else, so that a process that
cannot become ready can be asked why.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Protocol

import msgspec

from paceline.commands.admin.access import QUIET, guard
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
    """The process that is asked about. ``metrics`` None: it serves none.

    ``settings``: what is in effect, masked. ``state``: the figures, by group.
    """

    service: str
    version: str
    health: Health
    metrics: Metrics | None
    settings: Sequence[EffectiveSetting]
    state: Callable[[], Mapping[str, object]]
    tasks: TaskAges
    profiler: Profiler


class LogLevel(msgspec.Struct, frozen=True):
    """The least important records that are written."""

    level: Level


class LogLines(msgspec.Struct, frozen=True):
    """The last lines of the log; ask again with ``after`` = ``next``."""

    next: int
    lines: list[str]


class LogQuery(msgspec.Struct, frozen=True):
    """Which lines: those after that number."""

    after: Annotated[int, msgspec.Meta(ge=0)] = 0


def admin_app(operated: AdminContext, log: AdminLog, *, token: str | None) -> App:
    """The application. ``token``: see ``access``."""
    app = App(request_id(), access_log(log, debug_paths=QUIET), recover(log))
    add_probes(app, operated.health)
    guarded = guard(token)
    if operated.metrics is not None:
        add_page(app, "/metrics", _metrics_page(operated.metrics), guarded)
    add_page(app, "/debug/profile", profile_page(operated.profiler), guarded)
    handlers = _Handlers(operated, log)
    group = app.group("", guarded)
    group.get("/log/level", handlers.level)
    group.put("/log/level", handlers.set_level)
    group.get("/config", handlers.settings)
    group.get("/debug/tasks", handlers.tasks)
    group.get("/debug/state", handlers.state)
    group.get("/debug/logs", handlers.logs)
    return app


class _Handlers:
    """The answers in JSON."""

    def __init__(self, operated: AdminContext, log: AdminLog) -> None:
        self._operated = operated
        self._log = log
        self._began = monotonic()

    async def level(self) -> LogLevel:
        """The log's level."""
        return LogLevel(self._log.level)

    async def set_level(self, body: Body[LogLevel]) -> LogLevel:
        """Change the log's level, until the process ends or it is changed again."""
        before = self._log.level
        self._log.set_level(body.level)
        # A warning: whatever the level, the log shows from where on it tells more or less.
        self._log.warning("log level changed", before=before, after=body.level)
        return LogLevel(self._log.level)

    async def settings(self) -> Sequence[EffectiveSetting]:
        """The settings in effect and where each came from; secrets are masked."""
        return self._operated.settings

    async def tasks(self) -> TaskList:
        """Every task of the event loop."""
        return self._operated.tasks.list()

    async def state(self) -> dict[str, object]:
        """What this process is, and the figures of everything that is watched."""
        operated = self._operated
        return {
            "service": operated.service,
            "version": operated.version,
            "pid": os.getpid(),
            "uptime_seconds": round(monotonic() - self._began, 3),
            **operated.state(),
        }

    async def logs(self, query: Query[LogQuery]) -> LogLines:
        """The log's last lines."""
        number, lines = self._log.tail.after(query.after)
        return LogLines(number, lines)


def _metrics_page(metrics: Metrics) -> Callable[[Scope], Page]:
    async def page(scope: Scope) -> tuple[bytes, str]:
        return await metrics.scrape(headers_of(scope).get(b"accept", b"").decode("latin-1"))

    return page
