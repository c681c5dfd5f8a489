"""``myservice run``, ``serve`` and ``worker``: the service, until it is told to stop.

``run`` is for development: it starts engines of its own, brings the schema up to date, makes
and keeps a token secret, and prints commands to paste. ``serve`` is for production and starts
nothing but itself: what is missing is listed, exit code 2. Exit codes while serving are
``paceline.lifecycle.Exit``'s. Everything is wired in ``main``; read that next.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace

import typer
import uvloop

from myservice import __version__
from myservice.config import Config, ServeConfig, WorkerConfig
from myservice.development import Development
from myservice.main import Built, build, build_worker, limits
from myservice.schema import migrations
from paceline.commands import USAGE, fail, tune_gc, with_flags
from paceline.commands.admin import require_token
from paceline.commands.prefork import SupervisorSpec, WorkerHandoff, inherited, supervise
from paceline.config import Loaded, effective_settings
from paceline.engines import EngineError
from paceline.errors import Error
from paceline.http import HttpServer
from paceline.lifecycle import Exit
from paceline.log import Log, setup
from paceline.postgres.migrate import SchemaCheck


def serving_commands() -> typer.Typer:
    """The three of them."""
    app = typer.Typer()
    app.command("run", epilog="Example: myservice run --port 0 --data-dir /tmp/try")(
        with_flags(Config, _run)
    )
    app.command("serve", epilog="Example: APP_DATABASE_URL=… APP_JWT_SECRET=… myservice serve")(
        with_flags(ServeConfig, _serve)
    )
    app.command("worker", epilog="Example: APP_DATABASE_URL=… APP_NATS_URL=… myservice worker")(
        with_flags(WorkerConfig, _worker)
    )
    return app


def _run(loaded: Loaded[Config]) -> None:
    """Start everything in one process, on engines of our own: for development."""
    config = loaded.config
    log = _log(config)
    try:
        uses_redis = config.cache or config.rate_limit_shared
        development = Development(config, log, redis=uses_redis)
    except EngineError as exc:
        fail(str(exc), code=Exit.FAILED)
    settings = effective_settings(replace(loaded, config=development.config))
    built = _or_fail(
        lambda: build(
            development.config,
            log,
            before=development.services,
            settings=settings,
            with_worker=True,
        )
    )

    def ready() -> None:
        log.info("limits", **limits(config))
        development.greet(built)

    _live(built, ready)


def _serve(loaded: Loaded[ServeConfig]) -> None:
    """Serve requests, on the database that is given: for production."""
    config, given = loaded.config, inherited()
    if config.workers > 1 and given is None:
        _or_fail(lambda: supervise(_plan(config)))
    log = _log(config)
    if given is not None:
        log = log.bind(worker=given.worker)
        config = _as_worker(config, given, log)
    before, settings = (
        [SchemaCheck(config.get_database_url(), migrations(), program="myservice")],
        effective_settings(loaded),
    )
    built = _or_fail(lambda: build(config, log, before=before, settings=settings, given=given))

    def ready() -> None:
        if built.link is not None:
            built.link.tell_ready()
        port = built.server.port if built.server else config.port
        rpc_port = built.rpc_server.port if built.rpc_server else config.grpc_port
        log.info("limits", **limits(config))
        log.info(
            "ready",
            url=f"http://{config.host}:{port}",
            grpc_port=rpc_port,
            admin=None if given else _url_of(built.admin),
            version=__version__,
        )

    _live(built, ready)


def _plan(config: ServeConfig) -> SupervisorSpec:
    token = config.admin_token.reveal() if config.admin_token else None
    require_token(config.admin_host, token, variable=config.variable("admin_token"))
    return SupervisorSpec(
        service="myservice",
        version=__version__,
        workers=config.workers,
        host=config.host,
        port=config.port,
        reserved_port=config.grpc_port,
        reuse_port=config.reuse_port,
        stop_timeout=config.drain_delay + config.shutdown_timeout + 3.0,
        admin_host=config.admin_host,
        admin_port=config.admin_port,
        admin_token=token,
        log_level=config.log_level,
        log_format=config.log_format,
    )


def _as_worker(config: ServeConfig, given: WorkerHandoff, log: Log) -> ServeConfig:
    """The settings on the ports that the supervisor has, and with a share of the connections."""
    for name, port in (("port", given.port), ("grpc_port", given.reserved_port)):
        wanted: int = getattr(config, name)
        if wanted not in (0, port):
            variable = config.variable(name)
            log.warning("a reload cannot change a port: restart", setting=variable, stays=port)
    return config.replaced(
        port=given.port,
        grpc_port=given.reserved_port,
        reuse_port=True,
        max_db_conns=max(1, config.max_db_conns // config.workers),
    )


def _worker(loaded: Loaded[WorkerConfig]) -> None:
    """Pay orders and send what waits in the outbox: for production, beside `serve`."""
    config = loaded.config
    log = _log(config)
    before = [SchemaCheck(config.get_database_url(), migrations(), program="myservice")]
    built = _or_fail(
        lambda: build_worker(config, log, before=before, settings=effective_settings(loaded))
    )

    def ready() -> None:
        log.info("limits", **limits(config))
        log.info("ready", admin=_url_of(built.admin), version=__version__)

    _live(built, ready)


def _or_fail(make: Callable[[], Built]) -> Built:
    """What it makes. Ends the command when settings do not go together."""
    try:
        return make()
    except Error as exc:
        fail(str(exc), code=USAGE)


def _url_of(server: HttpServer | None) -> str | None:
    return None if server is None else server.url


def _log(config: Config) -> Log:
    return setup(config.log_level, format=config.log_format)


def _live(built: Built, on_ready: Callable[[], None]) -> None:
    """Run the service until it is told to stop, and exit with the lifecycle's code."""

    def ready() -> None:
        on_ready()
        tune_gc()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(built.lifecycle.run(ready))
    sys.exit(code)
