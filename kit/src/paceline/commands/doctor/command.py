"""``doctor``: a check-up of settings, machine and servers, before anything starts.

The settings are read as ``serve`` or ``worker`` reads them; what is wrong with them becomes
findings, and the checks that are still possible are made. Nothing is started, created or changed.
Which servers are checked follows from the groups of settings that the service has. Checks come
from the room's front door, which imports each with its library when it is used: a service without
a cache needs no library for one.
"""

import asyncio
import io
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Never

import typer

from paceline.clock import SystemClock
from paceline.commands import doctor
from paceline.commands.doctor.access import (
    check_admin,
    check_claims,
    check_jwks,
    check_secrets,
)
from paceline.commands.doctor.certificates import check_certificates
from paceline.commands.doctor.findings import Finding, as_json, as_text, fail, healthy, ok, warn
from paceline.commands.doctor.machine import (
    check_container,
    check_disk,
    check_open_files,
    check_ports,
    check_python,
)
from paceline.commands.doctor.network import check_listening
from paceline.commands.doctor.packages import check_packages
from paceline.commands.doctor.runner import Check, DoctorRun, Purpose, blocking, run_checks
from paceline.commands.instance import InstanceSettings, find_instance
from paceline.commands.options import ConfigFile, DataDir
from paceline.commands.program import is_script
from paceline.commands.settings import (
    AuthSettings,
    GrpcSettings,
    HttpSettings,
    NatsSettings,
    PostgresSettings,
    RedisSettings,
    ServiceSettings,
)
from paceline.commands.spec import ServiceSpec
from paceline.config import ConfigError, Layer, load
from paceline.log import Log, new_logger
from paceline.trace import parse_otlp_endpoint

_SETTINGS = "settings"


def doctor_commands(spec: ServiceSpec) -> typer.Typer:
    """The command, for `list_commands`."""
    app = typer.Typer()

    @app.command("doctor", epilog=f"Example: {spec.program} doctor --for serve")
    def command(
        *,
        purpose: Annotated[
            Purpose, typer.Option("--for", help="The command that is to work.")
        ] = Purpose.SERVE,
        seconds: Annotated[
            float, typer.Option("--timeout", min=0.1, max=60, help="Seconds for each check.")
        ] = 5.0,
        as_data: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Check settings, machine and servers, and say how to mend what is not well.

        Nothing is started or changed. Exit code 1 when something failed; warnings are no failure.
        """
        findings, config = _check_settings(spec, purpose, config_file, data_dir)
        checks = _machine_checks(spec)
        if config is not None:
            # A connection's timeout comes first: then the finding says why it failed, and not only
            # that it took too long.
            run = DoctorRun(
                purpose=purpose,
                name=spec.name,
                seconds=seconds * 0.8,
                variable=spec.get_config().variable,
                log=_silent(),
                clock=SystemClock(),
            )
            checks |= list_checks(spec, config, run)
        # Not closed: that would wait for the threads that resolve names, however long they hang.
        findings += asyncio.Runner().run(run_checks(checks, seconds=seconds))
        typer.echo(as_json(findings) if as_data else as_text(findings), nl=False)
        _exit_now(0 if healthy(findings) else 1)

    return app


def list_checks(spec: ServiceSpec, config: ServiceSettings, run: DoctorRun) -> dict[str, Check]:
    """What these settings call for, in the order in which it is shown.

    The service's own checks come last; one of the same name replaces the usual one in its place.
    """
    checks: dict[str, Check] = {
        "container": blocking(lambda: check_container(processes=config.workers)),
        "disk": blocking(lambda: [check_disk(config.data_dir)]),
        "ports": blocking(lambda: _check_ports(config, run)),
        "admin": blocking(lambda: [check_admin(config, run)]),
    }
    if config.scheme == "https" or config.admin_tls_cert is not None:
        checks["certificates"] = blocking(lambda: check_certificates(config, run))
    if isinstance(config, AuthSettings) and run.purpose is Purpose.SERVE:
        checks["secrets"] = blocking(lambda: check_secrets(config))
        if config.jwks_url is not None:
            checks["jwks claims"] = blocking(lambda: [check_claims(config, run)])
            checks["jwks"] = partial(check_jwks, config.jwks_url, run)
    if config.otel_endpoint is not None:
        target = parse_otlp_endpoint(config.otel_endpoint).target
        variable = run.variable("otel_endpoint")
        mend = f"start the collector, or mend {variable}: traces are dropped"
        checks["traces"] = partial(check_listening, "traces", target, mend, seconds=run.seconds)
    return {
        **checks,
        **_server_checks(spec, config, run),
        **_own_checks(spec, config, run),
    }


def _server_checks(spec: ServiceSpec, config: ServiceSettings, run: DoctorRun) -> dict[str, Check]:
    checks: dict[str, Check] = {}
    if isinstance(config, PostgresSettings) and config.database_url is not None:
        dsn, wanted = config.get_database_url(), config.max_db_conns
        direct = config.get_direct_url()
        checks["postgres"] = partial(
            doctor.check_postgres, dsn, run, wanted=wanted, has_direct=direct != dsn
        )
        if direct != dsn:
            checks["direct"] = partial(doctor.check_direct, direct, run)
        if spec.migrations:
            checks["schema"] = partial(doctor.check_schema, direct, spec.get_migrations(), run)
    if isinstance(config, NatsSettings) and config.nats_url is not None:
        replicas = config.nats_replicas
        checks["nats"] = partial(doctor.check_nats, config.get_nats_url(), run, replicas=replicas)
    if isinstance(config, RedisSettings) and config.redis_url is not None:
        checks["redis"] = partial(doctor.check_redis, config.get_redis_url(), run)
    return checks


def _own_checks(spec: ServiceSpec, config: ServiceSettings, run: DoctorRun) -> Mapping[str, Check]:
    make = spec.get_checks()
    return make(config, run) if make is not None else {}


def _machine_checks(spec: ServiceSpec) -> dict[str, Check]:
    """What can be checked without any settings."""
    return {
        "python": blocking(lambda: [check_python()]),
        # A script is in no package whose requirements could be looked at.
        "packages": blocking(
            lambda: check_packages(*([] if is_script() else [spec.name]), "paceline")
        ),
        "open files": blocking(lambda: [check_open_files()]),
        "container": blocking(check_container),
    }


def _check_settings(
    spec: ServiceSpec, purpose: Purpose, file: Path | None, data_dir: str | None
) -> tuple[list[Finding], ServiceSettings | None]:
    """Findings on the settings, and as much of the settings as can be used."""
    settings = spec.get_config()
    needed, running = partial(settings.needed_by, purpose.value), InstanceSettings(settings)
    load_layers = partial(
        load,
        settings,
        flags={"data_dir": data_dir},
        dotenv=Path(".env"),
        file=file,
        fallback=running,
    )
    try:
        loaded = load_layers(needed=needed)
    except ConfigError as exc:
        mend = f"{spec.program} serve --help describes every setting"
        wrong = [fail(each.variable, each.message, mend) for each in exc.problems]
        env = {k: v for k, v in os.environ.items() if k not in {f.name for f in wrong}}
        try:
            return wrong, load_layers(env=env).config
        except ConfigError:
            return wrong, None
    given = sum(origin.layer is not Layer.DEFAULT for origin in loaded.origins.values())
    found = [ok(_SETTINGS, f"{given} given, {len(loaded.origins) - given} by default")]
    found += [warn(_SETTINGS, each, f"see: {spec.program} config") for each in loaded.warnings]
    if (instance := find_instance(running.folder)) is not None:
        saw = f"{instance.label} on {running.folder}, whose settings serve where none is given"
        found.append(ok("instance", saw))
    return found, loaded.config


def _check_ports(config: ServiceSettings, run: DoctorRun) -> list[Finding]:
    public: dict[str, int] = {}
    if run.purpose is Purpose.SERVE:
        if isinstance(config, HttpSettings):
            public[run.variable("port")] = config.port
        if isinstance(config, GrpcSettings):
            public[run.variable("grpc_port")] = config.grpc_port
    admin = {run.variable("admin_port"): config.admin_port}
    found = [*check_ports(config.host, public), *check_ports(config.admin_host, admin)]
    instance = find_instance(config.data_dir)
    own = {f"port {port}" for port in instance.ports} if instance is not None else set[str]()
    return [
        ok(each.name, "of the running instance") if each.name in own else each for each in found
    ]


def _silent() -> Log:
    """A log that is not shown: what goes wrong in a check is a finding already."""
    return new_logger("error", stream=io.TextIOWrapper(io.BytesIO()))


def _exit_now(code: int) -> Never:
    """End the process at once: its ordinary end waits for threads that resolve names."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
