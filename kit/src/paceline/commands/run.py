"""``run``: the whole service in one process, on engines of its own, for development.

Engines, a token secret and the schema are made only where the settings name none. The secret is
kept in the data folder, readable by its owner only, so tokens outlive a restart. Everything meant
for people goes to stderr; stdout is the log's.
"""

import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Generic, TypeVar

import typer

import paceline.postgres.migrate as migrate_room  # its names are imported when they are used
from paceline.commands.instance import Instance, InstanceLock, describe, publish
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
from paceline.commands.token import new_token
from paceline.commands.wiring import Process, ProcessSpec
from paceline.config import Loaded, effective_settings, format_duration
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
from paceline.log import Logger

C = TypeVar("C", bound=ServiceSettings)
_SUBJECT: Final = "developer"


def run_commands(spec: ServiceSpec) -> typer.Typer:
    """The command."""
    config = spec.get_config()
    app = typer.Typer()
    app.command(
        "run", cls=SettingsCommand, epilog=f"Example: {spec.name} run --port 0 --data-dir /tmp/try"
    )(with_flags(config, partial(_run, spec), needed=partial(config.needed_by, "run")))
    return app


def _run(spec: ServiceSpec, loaded: Loaded[Any]) -> None:
    """Start everything in one process, on engines of our own: for development."""
    instance = Instance(
        program=spec.name, version=spec.version, pid=os.getpid(), started=datetime.now(UTC)
    )
    lock = InstanceLock(loaded.config.data_dir)
    try:
        lock.acquire(instance)
    except Error as exc:
        fail(str(exc), code=ExitCode.FAILED)
    log = new_log(loaded.config)
    try:
        development = Development(spec, loaded.config, log)
    except EngineError as exc:
        fail(str(exc), code=ExitCode.FAILED)
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

    def ready() -> None:
        publish(config.data_dir, describe(instance, config, process))
        say(development.greeting(process))

    try:
        run_process(process, log, ready)
    finally:
        lock.release()


class Development(Generic[C]):
    """The settings of ``run``, and what they need: engines, then the schema."""

    config: C

    def __init__(self, spec: ServiceSpec, config: C, log: Logger) -> None:
        self._spec = spec
        self._engines = _OwnEngines(config, log)
        changes: dict[str, object] = {}
        if isinstance(config, GrpcSettings):
            changes["grpc_reflection"] = True
        if isinstance(config, AuthSettings) and config.jwt_secret is None:
            changes["jwt_secret"] = read_or_create_text(config.data_dir / "jwt-secret", _new_secret)
        if isinstance(config, PostgresSettings) and config.database_url is None:
            changes["database_url"] = self._engines.postgres(config)
        self._own_nats = isinstance(config, NatsSettings) and config.nats_url is None
        if self._own_nats:
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
            found.append(
                migrate_room.SchemaUpgrade(dsn, self._spec.get_migrations(), _MigrationOutput())
            )
        return found

    def greeting(self, process: Process) -> str:
        """Where the service is and how to try it."""
        config, name = self.config, self._spec.name
        lines = [""]
        if (http := process.servers.get("http")) is not None:
            url = f"http://{config.host}:{http.port}"
            lines.append(f"{name} is ready on {url}")
            lines.append(
                f"Ctrl-C stops it. Its data stays in {config.data_dir}; the API is at {url}/docs"
            )
        else:
            lines.append(f"{name} is ready. Ctrl-C stops it. Its data stays in {config.data_dir}")
        if process.admin is not None:
            admin = process.admin.url
            lines.append(
                f"For operators: {admin}/metrics, {admin}/debug/state, {admin}/debug/profile"
            )
        if self._own_nats:
            where = shlex.quote(str(config.data_dir))
            lines.append(f"What could not be handled: {name} dead list --data-dir {where}")
        examples = self._spec.get_examples()
        if examples is not None and isinstance(config, AuthSettings):
            token = new_token(config, _SUBJECT, self._spec.get_scopes())
            lifetime = format_duration(config.token_expiry)
            lines += ["", f"Try it (this token is good for {lifetime}):", "", f"TOKEN={token}"]
            lines.append(examples(config, process))
        return "\n".join(lines)


class _OwnEngines:
    """Engines in the data folder: each method adds one, not started, and gives its URL."""

    def __init__(self, config: ServiceSettings, log: Logger) -> None:
        self._folder = config.data_dir
        self._log = log
        self.engines: list[PostgresEngine | NatsEngine | RedisEngine] = []

    def postgres(self, config: PostgresSettings) -> str:
        engine = PostgresEngine(
            self._log, data_dir=self._folder / "postgres", port=config.pg_port, progress=say
        )
        self.engines.append(engine)
        return engine.dsn()

    def nats(self) -> str:
        engine = NatsEngine(self._log, data_dir=self._folder / "nats", progress=say)
        self.engines.append(engine)
        return engine.url

    def redis(self) -> str:
        engine = RedisEngine(self._log, data_dir=self._folder / "redis", progress=say)
        self.engines.append(engine)
        return engine.url


class _MigrationOutput:
    def applied(self, step: "migrate_room.Step", seconds: float) -> None:
        """Show one migration."""
        say(f"migrated {step} in {seconds * 1000:.0f} ms")


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def say(line: str) -> None:
    """A line for people."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
