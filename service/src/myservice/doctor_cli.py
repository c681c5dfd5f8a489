"""``myservice doctor``: a check-up of settings, machine and servers, before anything starts.

Reads the settings as ``serve`` does, or ``worker``; what is wrong with them is told as findings,
and the checks that are still possible are made. Nothing is started, made or changed. The checks
are ``paceline.commands.doctor``'s; here is which of them the settings call for.
"""

import asyncio
import io
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Never

import typer

from myservice.config import Config, ServeConfig, WorkerConfig
from myservice.main import ORDERS
from myservice.repository.payments import CONSUMER
from myservice.schema import migrations, open_migrator
from paceline.auth import JwksSource, fetch_from
from paceline.clock import SystemClock
from paceline.commands.admin import require_token
from paceline.commands.doctor import (
    Check,
    Finding,
    as_json,
    as_text,
    blocking,
    check_container,
    check_disk,
    check_listening,
    check_nats,
    check_open_files,
    check_packages,
    check_ports,
    check_postgres,
    check_python,
    check_redis,
    examine,
    fail,
    healthy,
    judge_schema,
    ok,
    warn,
)
from paceline.concurrency import fail_after
from paceline.config import ConfigError, Layer, Loaded, format_duration, load
from paceline.errors import Error, chain
from paceline.log import Log, new_logger
from paceline.messaging.nats import dead_letter_stream
from paceline.postgres.migrate import read_source
from paceline.trace import parse_endpoint

_PROGRAM = "myservice"
_SETTINGS = "settings"
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]


class Purpose(StrEnum):
    """The command that is to work."""

    SERVE = "serve"
    WORKER = "worker"


NEEDS: Mapping[Purpose, type[Config]] = {
    Purpose.SERVE: ServeConfig,
    Purpose.WORKER: WorkerConfig,
}


def doctor_commands() -> typer.Typer:
    """The command."""
    app = typer.Typer()
    app.command(
        "doctor", epilog="Example: APP_DATABASE_URL=… APP_JWT_SECRET=… myservice doctor --for serve"
    )(_doctor)
    return app


def _doctor(
    *,
    purpose: Annotated[
        Purpose, typer.Option("--for", help="The command that is to work.")
    ] = Purpose.SERVE,
    seconds: Annotated[
        float, typer.Option("--timeout", min=0.1, max=60, help="Seconds for each check.")
    ] = 5.0,
    as_data: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
    config_file: ConfigFile = None,
) -> None:
    """Check settings, machine and servers, and say how to mend what is not well.

    Nothing is started or changed. Exit code 1 when something failed; warnings are no failure.
    """
    findings, config = _settings(NEEDS[purpose], config_file)
    checks = _always() | (_of(config, purpose, seconds) if config else {})
    # Not closed: that would wait for the threads that resolve names, however long they hang.
    findings += asyncio.Runner().run(examine(checks, seconds=seconds))
    typer.echo(as_json(findings) if as_data else as_text(findings), nl=False)
    _leave(0 if healthy(findings) else 1)


def _leave(code: int) -> Never:
    """End the process at once: its ordinary end waits for those threads, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _settings(wanted: type[Config], file: Path | None) -> tuple[list[Finding], Config | None]:
    """Findings on the settings, and as much of the settings as can be used."""
    dotenv = Path(".env")
    try:
        loaded: Loaded[Config] = load(wanted, dotenv=dotenv, file=file)
    except ConfigError as exc:
        mend = "myservice serve --help describes every setting"
        wrong = [fail(each.variable, each.message, mend) for each in exc.problems]
        env = {k: v for k, v in os.environ.items() if k not in {f.name for f in wrong}}
        try:
            return wrong, load(Config, env=env, dotenv=dotenv, file=file).config
        except ConfigError:
            return wrong, None
    given = sum(origin.layer is not Layer.DEFAULT for origin in loaded.origins.values())
    found = [ok(_SETTINGS, f"{given} given, {len(loaded.origins) - given} by default")]
    found += [warn(_SETTINGS, each, "see: myservice config") for each in loaded.warnings]
    return found, loaded.config


def _always() -> dict[str, Check]:
    """What can be checked without any settings."""
    return {
        "python": blocking(lambda: [check_python()]),
        "packages": blocking(lambda: check_packages("myservice", "paceline")),
        "open files": blocking(lambda: [check_open_files()]),
        "container": blocking(check_container),
    }


def _of(config: Config, purpose: Purpose, patience: float) -> dict[str, Check]:
    """What these settings call for, in the order in which it is shown."""
    # Connecting gives up first: then the finding says why, and not only that it took too long.
    patience *= 0.8
    clock, log = SystemClock(), _silent()
    checks: dict[str, Check] = {
        "container": blocking(lambda: check_container(processes=config.workers)),
        "disk": blocking(lambda: [check_disk(config.data_dir)]),
        "ports": blocking(lambda: _ports(config, purpose)),
        "admin": blocking(lambda: [_admin(config)]),
    }
    if purpose is Purpose.SERVE:
        checks["secrets"] = blocking(lambda: _secrets(config))
    if purpose is Purpose.SERVE and config.jwks_url is not None:
        checks["jwks"] = partial(_jwks, config.jwks_url)
    if config.otel_endpoint is not None:
        mend = "start the collector, or mend APP_OTEL_ENDPOINT: traces are dropped"
        target = parse_endpoint(config.otel_endpoint).target
        checks["traces"] = partial(check_listening, "traces", target, mend, patience=patience)
    if config.database_url is not None:
        dsn = config.get_database_url()
        checks["postgres"] = partial(
            check_postgres, dsn, clock, wanted=config.max_db_conns, patience=patience
        )
        checks["schema"] = partial(_schema, dsn, patience)
    if config.nats_url is not None:
        checks["nats"] = partial(
            check_nats, config.get_nats_url(), log,
            consumers={CONSUMER: ORDERS}, dead=dead_letter_stream(replicas=config.nats_replicas),
            program=_PROGRAM, patience=patience,
        )  # fmt: skip
    if config.redis_url is not None:
        checks["redis"] = partial(
            check_redis, config.get_redis_url(), log, clock, patience=patience
        )
    return checks


async def _schema(dsn: str, patience: float) -> Sequence[Finding]:
    async with fail_after(patience, "schema check"), open_migrator(dsn) as migrator:
        state = await migrator.state()
    return [judge_schema(state, read_source(migrations()).versions[-1], program=_PROGRAM)]


def _ports(config: Config, purpose: Purpose) -> Sequence[Finding]:
    public = {"APP_PORT": config.port, "APP_GRPC_PORT": config.grpc_port}
    found = check_ports(config.host, public) if purpose is Purpose.SERVE else []
    return [*found, *check_ports(config.admin_host, {"APP_ADMIN_PORT": config.admin_port})]


def _admin(config: Config) -> Finding:
    """Whether the admin port may start: open to other machines it must ask for a token."""
    token = config.admin_token.reveal() if config.admin_token else None
    try:
        require_token(config.admin_host, token, variable="APP_ADMIN_TOKEN")
    except Error as exc:
        return fail("admin", exc.message, "set APP_ADMIN_TOKEN: openssl rand -base64 32")
    who = "whoever has the token" if token else "this machine only"
    return ok("admin", f"on {config.admin_host}, for {who}")


def _secrets(config: Config) -> Sequence[Finding]:
    """What signs tokens. A weak secret never gets here: it is a fault of the settings."""
    found: list[Finding] = []
    if config.jwt_secret is not None:
        found.append(ok("token secret", "set, long enough and not guessable"))
    if config.jwt_secret_previous is not None:
        saw = f"still set; tokens live {format_duration(config.token_expiry)}"
        found.append(warn("previous secret", saw, "take it away once the last of them is gone"))
    return found


async def _jwks(location: str) -> Sequence[Finding]:
    keys = JwksSource(fetch_from(location), SystemClock())
    try:
        await keys.start()
    except Error as exc:
        mend = "see that APP_JWKS_URL is right, and can be reached from here"
        return [fail("jwks", chain(exc), mend)]
    await keys.stop()
    return [ok("jwks", f"{len(keys.keys)} keys that can be used")]


def _silent() -> Log:
    """What goes wrong here is a finding; as a log line it would be told twice."""
    return new_logger("error", stream=io.TextIOWrapper(io.BytesIO()))
