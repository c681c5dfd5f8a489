"""``run``: the whole service in one process, on engines of its own, for development.

Engines, a token secret and the schema are made only where the settings name none. The secret is
kept in the data folder, readable by its owner only, so tokens outlive a restart. Everything meant
for people goes to stderr; stdout is the log's.
"""

import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, Never, TypeVar

import typer

import paceline.postgres.migrate as migrate_room  # its names are imported when they are used
from paceline.commands.banner import BannerStyle, banner, shows_links
from paceline.commands.debugger import use_debugger
from paceline.commands.instance import (
    SECRET_FILE,
    Instance,
    InstanceLock,
    InstanceRunning,
    describe,
    publish,
)
from paceline.commands.options import add_process_command, fail
from paceline.commands.process import new_log, run_process, wire_or_fail
from paceline.commands.reload import (
    ReloadHandoff,
    libraries_line,
    supervise,
    take_handoff,
    watched_files,
)
from paceline.commands.settings import (
    AuthSettings,
    GrpcSettings,
    NatsSettings,
    PostgresSettings,
    RedisSettings,
    ServiceSettings,
)
from paceline.commands.spec import ServiceSpec
from paceline.commands.start_failure import could_not_start, explain_data_dir
from paceline.commands.start_report import StartReport
from paceline.commands.wiring import ProcessSpec
from paceline.config import Layer, Loaded, effective_settings
from paceline.engines import (
    EngineError,
    EngineGroup,
    NatsEngine,
    PostgresEngine,
    RedisEngine,
    read_or_create_text,
)
from paceline.errors import Error
from paceline.lifecycle import ExitCode, Service
from paceline.log import Log, Logger, shows_colours

C = TypeVar("C", bound=ServiceSettings)


def run_commands(spec: ServiceSpec) -> typer.Typer:
    """The command."""
    app = typer.Typer()
    add_process_command(
        app,
        spec.get_config(),
        "run",
        partial(_run, spec),
        example=f"{spec.program} run --port 0 --data-dir /tmp/try",
        switches={"reload": "Restart when source, migrations or settings are saved."},
    )
    return app


def _run(spec: ServiceSpec, loaded: Loaded[Any], *, reload: bool) -> None:
    """Start everything in one process, on engines of our own: for development."""
    if (handoff := take_handoff()) is not None:
        _run_service(spec, loaded, handoff.instance, handoff)
    instance = Instance(
        program=spec.program, version=spec.version, pid=os.getpid(), started=datetime.now(UTC)
    )
    lock = InstanceLock(loaded.config.data_dir)
    try:
        lock.acquire(instance)
    except InstanceRunning as exc:
        fail(str(exc), code=ExitCode.FAILED)
    except Error as exc:
        fail(could_not_start(spec.name, explain_data_dir(exc, loaded.config)), code=ExitCode.FAILED)
    try:
        if reload:
            _supervise(spec, loaded, instance)
        _run_service(spec, loaded, instance)
    finally:
        lock.release()


def _run_service(
    spec: ServiceSpec,
    loaded: Loaded[Any],
    instance: Instance,
    handoff: ReloadHandoff | None = None,
) -> Never:
    """Run the service in this process, alone or as a child of a supervisor."""
    if handoff is not None:
        loaded = replace(loaded, config=handoff.adapt(loaded.config))
    log = new_log(loaded.config)
    report = StartReport(spec.name, loaded.config, log)
    engine_urls = None if handoff is None else handoff.engine_urls
    development = _development(spec, loaded, log, report, engine_urls=engine_urls)
    config = development.config
    process = wire_or_fail(
        spec,
        config,
        log,
        ProcessSpec(
            service=spec.name,
            version=spec.version,
            works=True,
            settings=effective_settings(replace(loaded, config=config)),
            before=development.services,
            handoff=None if handoff is None else handoff.worker,
        ),
    )
    style = BannerStyle(colours=shows_colours(sys.stderr), links=shows_links(sys.stderr))

    def ready() -> None:
        publish(config.data_dir, describe(instance, config, process))
        if handoff is None or handoff.first:
            seconds = (datetime.now(UTC) - instance.started).total_seconds()
            report.say(banner(spec, config, process, seconds=seconds, style=style))
        if handoff is not None and process.link is not None:
            process.link.report(libraries_line(handoff))
            process.link.report_ready()

    use_debugger()
    run_process(process, log, ready, report)


def _supervise(spec: ServiceSpec, loaded: Loaded[Any], instance: Instance) -> Never:
    """Keep the engines up, and run the service in a child that is replaced when it changes."""
    config: ServiceSettings = loaded.config
    # A child says what there is to say.
    quiet = config.replaced(log_level="warning") if config.log_level == "info" else config
    log = new_log(quiet)
    report = StartReport(spec.name, config, log)
    development = _development(spec, loaded, log, report)
    given = {Path(each.where) for each in loaded.origins.values() if each.layer is Layer.FILE}
    try:
        code = supervise(
            config,
            instance,
            log,
            engines=development.engines,
            engine_urls=development.engine_urls,
            files=watched_files(spec, [Path(".env"), *given]),
            report=report,
        )
    except Error as exc:
        report.close()
        fail(could_not_start(spec.name, [str(exc)]), code=ExitCode.FAILED)
    sys.exit(code)


def _development(
    spec: ServiceSpec,
    loaded: Loaded[Any],
    log: Log,
    report: StartReport,
    *,
    engine_urls: Mapping[str, str] | None = None,
) -> "Development[Any]":
    try:
        return Development(spec, loaded.config, log, progress=report.step, engine_urls=engine_urls)
    except (EngineError, OSError) as exc:
        report.close()
        fail(could_not_start(spec.name, explain_data_dir(exc, loaded.config)), code=ExitCode.FAILED)


class Development(Generic[C]):
    """The settings of ``run``, and what they need: engines, then the schema.

    ``progress``: receives the steps of their start. ``engine_urls``: of engines that another
    process keeps up; with these none is started here. Errors: `EngineError`, ``OSError`` when the
    data folder cannot be used; `EngineError` for an engine that is not among those.
    """

    config: C

    def __init__(
        self,
        spec: ServiceSpec,
        config: C,
        log: Logger,
        *,
        progress: Callable[[str], None],
        engine_urls: Mapping[str, str] | None = None,
    ) -> None:
        self._spec = spec
        self._progress = progress
        self._engines = _OwnEngines(config, log, progress, engine_urls)
        changes: dict[str, object] = {}
        if isinstance(config, GrpcSettings):
            changes["grpc_reflection"] = True
        if isinstance(config, AuthSettings) and config.jwt_secret is None:
            changes["jwt_secret"] = read_or_create_text(config.data_dir / SECRET_FILE, _new_secret)
        if isinstance(config, PostgresSettings) and config.database_url is None:
            changes["database_url"] = self._engines.postgres(config)
        if isinstance(config, NatsSettings) and config.nats_url is None:
            changes["nats_url"] = self._engines.nats()
        if isinstance(config, RedisSettings) and config.uses_redis and config.redis_url is None:
            changes["redis_url"] = self._engines.redis()
        self.config = config.replaced(**changes)

    @property
    def engine_urls(self) -> Mapping[str, str]:
        """The addresses of its own engines, by field."""
        return self._engines.urls

    @property
    def engines(self) -> Sequence[Service]:
        """Its own engines."""
        engines = self._engines.engines
        return [EngineGroup(engines)] if engines else []

    @property
    def services(self) -> Sequence[Service]:
        """What must be up before the service."""
        found: list[Service] = [*self.engines]
        if self._spec.migrations and isinstance(self.config, PostgresSettings):
            dsn = self.config.get_direct_url()
            steps = _MigrationOutput(self._progress)
            folder = self._spec.get_migrations()
            found.append(migrate_room.SchemaUpgrade(dsn, folder, steps, retry=True))
        return found


class _OwnEngines:
    """Engines in the data folder: each method adds one, not started, and gives its URL.

    ``known``: URLs by field of those that another process has started; then none is added.
    """

    def __init__(
        self,
        config: ServiceSettings,
        log: Logger,
        progress: Callable[[str], None],
        known: Mapping[str, str] | None,
    ) -> None:
        self._folder = config.data_dir
        self._log = log
        self._progress = progress
        self._known = known
        self.engines: list[PostgresEngine | NatsEngine | RedisEngine] = []
        self.urls: dict[str, str] = {}

    def postgres(self, config: PostgresSettings) -> str:
        def add() -> str:
            engine = PostgresEngine(
                self._log,
                data_dir=self._folder / "postgres",
                port=config.pg_port,
                progress=self._progress,
            )
            self.engines.append(engine)
            return engine.dsn()

        return self._url("database_url", add)

    def nats(self) -> str:
        def add() -> str:
            folder = self._folder / "nats"
            engine = NatsEngine(self._log, data_dir=folder, progress=self._progress)
            self.engines.append(engine)
            return engine.url

        return self._url("nats_url", add)

    def redis(self) -> str:
        def add() -> str:
            folder = self._folder / "redis"
            engine = RedisEngine(self._log, data_dir=folder, progress=self._progress)
            self.engines.append(engine)
            return engine.url

        return self._url("redis_url", add)

    def _url(self, field: str, add: Callable[[], str]) -> str:
        if self._known is None:
            url = add()
        elif field in self._known:
            url = self._known[field]
        else:
            message = f"{field}: no engine is up for it; stop `run` and start it again"
            raise EngineError(message)
        self.urls[field] = url
        return url


class _MigrationOutput:
    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def applied(self, step: "migrate_room.Step", seconds: float) -> None:
        """Show one migration."""
        self._progress(f"migrated {step} in {seconds * 1000:.0f} ms")


def _new_secret() -> str:
    return secrets.token_urlsafe(32)
