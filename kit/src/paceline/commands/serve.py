"""``serve`` and ``worker``: the service in production, until it is told to stop.

They start nothing but themselves: what is missing is listed, exit code 2. With several workers
``serve`` becomes their supervisor. Exit codes while serving are ``paceline.lifecycle.ExitCode``'s.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import typer

import paceline.postgres.migrate as migrate_room  # its names are imported when they are used
from paceline.commands.admin import require_token
from paceline.commands.lazy import USAGE
from paceline.commands.options import add_process_command, fail
from paceline.commands.prefork import SupervisorSpec, WorkerHandoff, supervise, take_handoff
from paceline.commands.process import new_log, run_process, wire_or_fail
from paceline.commands.settings import (
    LISTENERS,
    PostgresSettings,
    ServiceSettings,
    ports_of,
    require_own_ports,
    require_worker_timeout,
)
from paceline.commands.spec import ServiceSpec
from paceline.commands.start_report import StartReport
from paceline.commands.tls import tls_paths
from paceline.commands.tls_fields import ADMIN
from paceline.commands.wiring import Process, ProcessSpec
from paceline.config import Loaded, effective_settings
from paceline.errors import Error
from paceline.http.server import server_url
from paceline.lifecycle import Service
from paceline.log import Log

_STOP_MARGIN: Final = 3.0  # seconds a supervisor waits beyond what its workers allow themselves


def serve_commands(spec: ServiceSpec) -> typer.Typer:
    """Both."""
    config = spec.get_config()
    app = typer.Typer()
    add_process_command(
        app,
        config,
        "serve",
        partial(_serve, spec),
        example=f"APP_DATABASE_URL=… APP_JWT_SECRET=… {spec.program} serve",
    )
    add_process_command(
        app,
        config,
        "worker",
        partial(_work, spec),
        example=f"APP_DATABASE_URL=… APP_NATS_URL=… {spec.program} worker",
    )
    return app


def _serve(spec: ServiceSpec, loaded: Loaded[Any]) -> None:
    """Serve requests, on the database that is given: for production."""
    config: ServiceSettings = loaded.config
    handoff = take_handoff()
    if config.workers > 1 and handoff is None:
        _become_supervisor(spec, config)
    log = new_log(config)
    if handoff is not None:
        log = log.bind(worker=handoff.worker)
        config = _as_worker(config, handoff, log)
    process = wire_or_fail(
        spec,
        config,
        log,
        ProcessSpec(
            service=spec.name,
            version=spec.version,
            settings=effective_settings(loaded),
            before=schema_check(spec, config),
            handoff=handoff,
            hangup_reloads=True,
        ),
    )

    def ready() -> None:
        if process.link is not None:
            process.link.report_ready()
        log.info("ready", **_addresses(process, config), version=spec.version)

    told = handoff is None or handoff.tells_people
    run_process(process, log, ready, StartReport(spec.name, config, log) if told else None)


def _work(spec: ServiceSpec, loaded: Loaded[Any]) -> None:
    """Work off the queue and send what waits in the outbox: for production, beside `serve`."""
    config: ServiceSettings = loaded.config
    log = new_log(config)
    process = wire_or_fail(
        spec,
        config,
        log,
        ProcessSpec(
            service=spec.name,
            version=spec.version,
            serves=False,
            works=True,
            settings=effective_settings(loaded),
            before=schema_check(spec, config),
            hangup_reloads=True,
        ),
    )

    def ready() -> None:
        log.info("ready", admin=process.admin and process.admin.url, version=spec.version)

    run_process(process, log, ready, StartReport(spec.name, config, log))


def schema_check(spec: ServiceSpec, config: ServiceSettings) -> Sequence[Service]:
    """A schema that is older than the code must be migrated first, by the operator."""
    if not spec.migrations or not isinstance(config, PostgresSettings):
        return ()
    return (
        migrate_room.SchemaCheck(
            config.get_database_url(), spec.get_migrations(), program=spec.program
        ),
    )


def _addresses(process: Process, config: ServiceSettings) -> dict[str, object]:
    """Where it listens, for the log; the admin address of a worker is its supervisor's."""
    found: dict[str, object] = {}
    if (http := process.servers.get("http")) is not None:
        found["url"] = server_url(config.scheme, config.host, http.port)
    if (grpc := process.servers.get("grpc")) is not None:
        found["grpc_port"] = grpc.port
    return found | {"admin": process.admin.url if process.admin and not process.link else None}


def _become_supervisor(spec: ServiceSpec, config: ServiceSettings) -> None:
    try:
        token = config.get_admin_token()
        require_own_ports(config)
        require_worker_timeout(config)
        require_token(config.admin_host, token, variable=config.variable("admin_token"))
        supervise(
            SupervisorSpec(
                service=spec.name,
                version=spec.version,
                workers=config.workers,
                host=config.host,
                ports=ports_of(config),
                reuse_port=config.reuse_port,
                worker_timeout=config.worker_timeout,
                stop_timeout=config.drain_delay + config.shutdown_timeout + _STOP_MARGIN,
                admin_host=config.admin_host,
                admin_port=config.admin_port,
                admin_token=token,
                scheme=config.scheme,
                admin_tls=tls_paths(config, ADMIN),
                log_level=config.log_level,
                log_format=config.log_format,
                log_source=config.log_source,
            )
        )
    except Error as exc:
        fail(str(exc), code=USAGE)


def _as_worker(config: ServiceSettings, handoff: WorkerHandoff, log: Log) -> ServiceSettings:
    """The settings on the ports that the supervisor has, and with a share of the connections."""
    changes: dict[str, object] = {}
    for server, port in handoff.ports.items():
        name = LISTENERS[server]
        changes[name] = port
        if getattr(config, name) not in (0, port):
            variable = config.variable(name)
            log.warning("a reload cannot change a port: restart", setting=variable, stays=port)
    if isinstance(config, PostgresSettings):
        changes["max_db_conns"] = max(1, config.max_db_conns // config.workers)
    return config.replaced(**changes)
