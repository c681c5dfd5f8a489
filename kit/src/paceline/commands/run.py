"""``run``: the whole service in one process, on engines of its own, for development.

Engines, a token secret and the schema are made only where the settings name none. The secret is
kept in the data folder, readable by its owner only, so tokens outlive a restart. Everything meant
for people goes to stderr; stdout is the log's.
"""

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

import typer

import paceline.postgres.migrate as migrate_room  # its names are imported when they are used
from paceline.commands.banner import BannerStyle, banner, shows_links
from paceline.commands.instance import Instance, InstanceLock, InstanceRunning, describe, publish
from paceline.commands.options import SettingsCommand, fail, with_flags
from paceline.commands.process import new_log, run_process, wire_or_fail
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
from paceline.config import Loaded, effective_settings
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
from paceline.log import Logger, shows_colours

C = TypeVar("C", bound=ServiceSettings)


def run_commands(spec: ServiceSpec) -> typer.Typer:
    """The command."""
    config = spec.get_config()
    app = typer.Typer()
    app.command(
        "run",
        cls=SettingsCommand,
        epilog=f"Example: {spec.program} run --port 0 --data-dir /tmp/try",
    )(with_flags(config, partial(_run, spec), needed=partial(config.needed_by, "run")))
    return app


def _run(spec: ServiceSpec, loaded: Loaded[Any]) -> None:
    """Start everything in one process, on engines of our own: for development."""
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
    log = new_log(loaded.config)
    report = StartReport(spec.name, loaded.config, log)
    try:
        development = Development(spec, loaded.config, log, progress=report.step)
    except (EngineError, OSError) as exc:
        report.close()
        fail(could_not_start(spec.name, explain_data_dir(exc, loaded.config)), code=ExitCode.FAILED)
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
        ),
    )
    style = BannerStyle(colours=shows_colours(sys.stderr), links=shows_links(sys.stderr))

    def ready() -> None:
        publish(config.data_dir, describe(instance, config, process))
        report.say(banner(spec, config, process, seconds=report.seconds, style=style))

    try:
        run_process(process, log, ready, report)
    finally:
        lock.release()


class Development(Generic[C]):
    """The settings of ``run``, and what they need: engines, then the schema.

    ``progress``: receives the steps of their start. Errors: `EngineError`, ``OSError`` when the
    data folder cannot be used.
    """

    config: C

    def __init__(
        self, spec: ServiceSpec, config: C, log: Logger, *, progress: Callable[[str], None]
    ) -> None:
        self._spec = spec
        self._progress = progress
        self._engines = _OwnEngines(config, log, progress)
        changes: dict[str, object] = {}
        if isinstance(config, GrpcSettings):
            changes["grpc_reflection"] = True
        if isinstance(config, AuthSettings) and config.jwt_secret is None:
            changes["jwt_secret"] = read_or_create_text(config.data_dir / "jwt-secret", _new_secret)
        if isinstance(config, PostgresSettings) and config.database_url is None:
            changes["database_url"] = self._engines.postgres(config)
        if isinstance(config, NatsSettings) and config.nats_url is None:
            changes["nats_url"] = self._engines.nats()
        if isinstance(config, RedisSettings) and config.uses_redis and config.redis_url is None:
            changes["redis_url"] = self._engines.redis()
        self.config = config.replaced(**changes)

    @property
    def services(self) -> Sequence[Service]:
        """What must be up before the service."""
        engines = self._engines.engines
        found: list[Service] = [EngineGroup(engines)] if engines else []
        if self._spec.migrations and isinstance(self.config, PostgresSettings):
            dsn = self.config.get_database_url()
            steps = _MigrationOutput(self._progress)
            found.append(migrate_room.SchemaUpgrade(dsn, self._spec.get_migrations(), steps))
        return found


class _OwnEngines:
    """Engines in the data folder: each method adds one, not started, and gives its URL."""

    def __init__(
        self, config: ServiceSettings, log: Logger, progress: Callable[[str], None]
    ) -> None:
        self._folder = config.data_dir
        self._log = log
        self._progress = progress
        self.engines: list[PostgresEngine | NatsEngine | RedisEngine] = []

    def postgres(self, config: PostgresSettings) -> str:
        engine = PostgresEngine(
            self._log,
            data_dir=self._folder / "postgres",
            port=config.pg_port,
            progress=self._progress,
        )
        self.engines.append(engine)
        return engine.dsn()

    def nats(self) -> str:
        engine = NatsEngine(self._log, data_dir=self._folder / "nats", progress=self._progress)
        self.engines.append(engine)
        return engine.url

    def redis(self) -> str:
        engine = RedisEngine(self._log, data_dir=self._folder / "redis", progress=self._progress)
        self.engines.append(engine)
        return engine.url


class _MigrationOutput:
    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def applied(self, step: "migrate_room.Step", seconds: float) -> None:
        """Show one migration."""
        self._progress(f"migrated {step} in {seconds * 1000:.0f} ms")


def _new_secret() -> str:
    return secrets.token_urlsafe(32)
