"""The command line: ``run``, ``serve``, ``worker``, ``migrate``, ``records``, ``ledger``, ….

``run`` is for development: it starts engines of its own, brings the schema up to date, makes
and keeps a token secret, and prints commands to paste. ``serve`` is for production and starts
nothing but itself: what is missing is listed, exit code 2. Exit codes while serving are
``paceline.lifecycle.Exit``'s. Everything is wired in ``main``; read that next.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from myservice import __version__
from myservice.bench_cli import add_bench
from myservice.config import Config, MigrateConfig, ServeConfig, TokenConfig, WorkerConfig
from myservice.dead_cli import dead_commands
from myservice.development import Development
from myservice.doctor_cli import add_doctor
from myservice.ledger_cli import ledger_commands
from myservice.main import Built, build, build_worker
from myservice.records_cli import records_commands
from myservice.schema import SchemaCheck, migrations, open_migrator
from myservice.top_cli import add_top
from paceline.auth import issue_token
from paceline.cli import USAGE, fail, load_or_fail, with_flags
from paceline.clock import SystemClock
from paceline.config import Loaded, as_json, as_text, describe
from paceline.engines import EngineError
from paceline.errors import Error
from paceline.lifecycle import Exit
from paceline.log import Log, setup
from paceline.memory import settle_memory
from paceline.migrate import Migrator, Progress
from paceline.migrate.cli import migrate_commands
from paceline.web.server import HttpServer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]


def new_cli() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="myservice",
        help="The record service. Start with: myservice run",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    app.command("run", epilog="Example: myservice run --port 0 --data-dir /tmp/try")(
        with_flags(Config, _run)
    )
    app.command("serve", epilog="Example: APP_DATABASE_URL=… APP_JWT_SECRET=… myservice serve")(
        with_flags(ServeConfig, _serve)
    )
    app.command("worker", epilog="Example: APP_DATABASE_URL=… APP_NATS_URL=… myservice worker")(
        with_flags(WorkerConfig, _worker)
    )
    app.add_typer(migrate_commands(_open_migrator, _new_migrations))
    app.add_typer(records_commands())
    app.add_typer(ledger_commands())
    app.add_typer(dead_commands())
    app.command("token", epilog="Example: myservice token --sub ada --scope records:read")(_token)
    app.command("config", epilog="Example: APP_PORT=9000 myservice config")(_config)
    add_doctor(app)
    add_bench(app)
    add_top(app)
    return app


def main() -> None:
    """The entry point of ``myservice``."""
    new_cli()()


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"myservice {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


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


def _token(
    sub: Annotated[str, typer.Option("--sub", help="For whom the token speaks.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it allows, such as records:read; may be repeated."),
    ] = None,
    expiry: Annotated[
        str | None, typer.Option("--expiry", metavar="DURATION", help="How long it is good.")
    ] = None,
    config_file: ConfigFile = None,
) -> None:
    """Make a bearer token, signed with APP_JWT_SECRET, and print it."""
    flags = {"token_expiry": expiry}
    config = load_or_fail(TokenConfig, flags, config_file).config
    typer.echo(token_for(config, sub, scope or []))


def token_for(config: Config, subject: str, scopes: list[str]) -> str:
    """A token by the configured secret. Ends the command when it cannot be made."""
    if config.jwt_secret is None:
        fail("APP_JWT_SECRET is not set", code=USAGE)
    try:
        return issue_token(
            config.jwt_secret.reveal().encode(),
            subject=subject,
            scopes=scopes,
            expiry=config.token_expiry,
            clock=SystemClock(),
            issuer=config.jwt_issuer,
            audience=config.jwt_audience,
        )
    except Error as exc:
        fail(str(exc), code=USAGE)


def _config(
    *,
    as_data: Annotated[bool, typer.Option("--json", help="As JSON, with each one's help.")] = False,
    config_file: ConfigFile = None,
) -> None:
    """Print the effective configuration and where each value came from; secrets are masked."""
    rows = describe(load_or_fail(Config, {}, config_file))
    typer.echo(as_json(rows) if as_data else as_text(rows), nl=False)


@asynccontextmanager
async def _open_migrator(
    context: typer.Context, progress: Progress
) -> AsyncGenerator[Migrator, None]:
    del context
    config = load_or_fail(MigrateConfig, {}, None).config
    async with open_migrator(config.get_database_url(), progress) as migrator:
        yield migrator


def _new_migrations() -> Path:
    return Path(str(migrations()))


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
