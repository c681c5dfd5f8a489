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
from myservice.main import Built, build, build_worker
from myservice.schema import SchemaCheck
from paceline.cli import USAGE, fail, with_flags
from paceline.config import Loaded, describe
from paceline.engines import EngineError
from paceline.errors import Error
from paceline.lifecycle import Exit
from paceline.log import Log, setup
from paceline.memory import settle_memory
from paceline.web.server import HttpServer


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
        development = Development(config, log, nats=True, redis=uses_redis)
    except EngineError as exc:
        fail(str(exc), code=Exit.FAILED)
    settings = describe(replace(loaded, config=development.config))
    built = _or_fail(
        lambda: build(
            development.config,
            log,
            before=development.services,
            settings=settings,
            with_worker=True,
        )
    )
    _live(built, lambda: development.greet(built))


def _serve(loaded: Loaded[ServeConfig]) -> None:
    """Serve requests, on the database that is given: for production."""
    config = loaded.config
    log = _log(config)
    before = [SchemaCheck(config.get_database_url())]
    built = _or_fail(lambda: build(config, log, before=before, settings=describe(loaded)))

    def ready() -> None:
        port = built.server.port if built.server else config.port
        rpc_port = built.rpc_server.port if built.rpc_server else config.grpc_port
        log.info(
            "ready",
            url=f"http://{config.host}:{port}",
            grpc_port=rpc_port,
            admin=_url_of(built.admin),
            version=__version__,
        )

    _live(built, ready)


def _worker(loaded: Loaded[WorkerConfig]) -> None:
    """Pay orders and send what waits in the outbox: for production, beside `serve`."""
    config = loaded.config
    log = _log(config)
    before = [SchemaCheck(config.get_database_url())]
    built = _or_fail(lambda: build_worker(config, log, before=before, settings=describe(loaded)))

    def ready() -> None:
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
        settle_memory()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(built.lifecycle.run(ready))
    sys.exit(code)
