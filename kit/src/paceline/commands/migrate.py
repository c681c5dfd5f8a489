"""``migrate``: the command line over a `Migrator`, in golang-migrate's words.

Only commands that need the database connect to it. A failure is reported once, on stderr, with exit
code 1. The first interrupt lets the running migration finish, the next one cancels it.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from paceline.commands.one_off import get_settings, load_for
from paceline.commands.options import ConfigFile, DatabaseUrl, DataDir
from paceline.commands.settings import PostgresSettings
from paceline.commands.spec import ServiceSpec
from paceline.commands.start_failure import postgres_server
from paceline.commands.start_report import named_server
from paceline.errors import Error
from paceline.log import printable
from paceline.postgres.migrate import (
    LockWait,
    MigrationFailed,
    Migrator,
    Progress,
    ServerError,
    Step,
    create_migration,
    open_migrator,
)


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """The options of a command that say where the database is."""

    database_url: str | None = None
    data_dir: str | None = None
    config_file: Path | None = None


OpenMigrator = Callable[[Progress, DatabaseOptions], AbstractAsyncContextManager[Migrator]]
"""Opens a connection for one command; the migrator must report to the `Progress` it gets."""

_Action = Callable[[Migrator], Awaitable[object]]
_NO_VERSION = -1
_MAX_VERSION = 2**63 - 1
_INTERRUPTED = 130

_Limit = Annotated[int | None, typer.Argument(min=0, metavar="N", help="How many.")]
_Version = Annotated[int, typer.Argument(min=0, max=_MAX_VERSION, metavar="V")]
_Forced = Annotated[int, typer.Argument(min=_NO_VERSION, max=_MAX_VERSION, metavar="V")]
_All = Annotated[bool, typer.Option("--all", help="Undo all of them, without asking.")]


def migrate_commands(spec: ServiceSpec) -> typer.Typer:
    """The group of commands, for `list_commands`."""
    settings = get_settings(spec, PostgresSettings)

    def connect(
        progress: Progress, options: DatabaseOptions
    ) -> AbstractAsyncContextManager[Migrator]:
        flags = {"database_url": options.database_url, "data_dir": options.data_dir}
        config = load_for(settings, "migrate", flags, options.config_file)
        lock_wait = LockWait(config.migrate_lock_timeout, config.migrate_lock_wait)
        # An address on the command line is the one that is meant.
        direct = config.get_database_url() if options.database_url else config.get_direct_url()
        connection = open_migrator(direct, spec.get_migrations(), progress, lock_wait=lock_wait)
        return named_server(postgres_server(config), connection)

    return migrator_commands(connect, lambda: Path(str(spec.get_migrations())))


def migrator_commands(connect: OpenMigrator, folder: Callable[[], Path]) -> typer.Typer:
    """The group of commands on any database. ``new`` makes its files in ``folder``."""
    app = typer.Typer(
        name="migrate",
        help="Move the database between schema versions (compatible with golang-migrate).",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @app.command(epilog="Example: migrate up, or migrate up 1 for the next one only.")
    def up(
        limit: _Limit = None,
        *,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Apply all migrations that are not applied yet, or the next N of them."""
        options = DatabaseOptions(database_url, data_dir, config_file)
        _run(connect, options, lambda migrator: _report(migrator.up(limit)))

    @app.command(epilog="Example: migrate down 1 undoes the last one.")
    def down(
        limit: _Limit = None,
        *,
        all_: _All = False,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Undo the last N migrations, or all of them."""
        _confirm_down(limit, all_=all_)
        options = DatabaseOptions(database_url, data_dir, config_file)
        _run(connect, options, lambda migrator: _report(migrator.down(limit)))

    @app.command(epilog="Example: migrate goto 3")
    def goto(
        version: _Version,
        *,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Migrate up or down to version V."""
        options = DatabaseOptions(database_url, data_dir, config_file)
        _run(connect, options, lambda migrator: _report(migrator.goto(version)))

    # A version of -1 must not be taken for an option.
    @app.command(
        context_settings={"ignore_unknown_options": True},
        epilog="Example: migrate force 2, after repairing by hand; migrate force -1 for none.",
    )
    def force(
        version: _Forced,
        *,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Say that the schema is at version V and clean; run nothing. -1 means no version."""
        target = None if version == _NO_VERSION else version
        options = DatabaseOptions(database_url, data_dir, config_file)
        _run(connect, options, lambda migrator: migrator.force(target))

    @app.command(epilog="Example: migrate version prints 3, or 3 (dirty) after a failure.")
    def version(
        *,
        database_url: DatabaseUrl = None,
        data_dir: DataDir = None,
        config_file: ConfigFile = None,
    ) -> None:
        """Print the version the database is at."""
        _run(connect, DatabaseOptions(database_url, data_dir, config_file), _print_version)

    @app.command(epilog="Example: migrate new add_colour makes 000004_add_colour.{up,down}.sql")
    def new(name: Annotated[str, typer.Argument(help="Such as create_records.")]) -> None:
        """Make an empty pair of migration files with the next number."""
        try:
            for path in create_migration(folder(), name):
                typer.echo(path)
        except Error as exc:
            raise _failure(exc) from exc

    return app


class _Printer:
    """Prints each step as it is done: ``000001/u create_records (12.3ms)``."""

    def applied(self, step: Step, seconds: float) -> None:
        typer.echo(f"{step} ({seconds * 1000:.1f}ms)")

    def waiting(self, step: Step, seconds: float, oldest: str | None) -> None:
        holder = f": the oldest transaction is of {oldest}" if oldest else ""
        _say(f"{step} waits for a lock since {seconds:.0f}s, trying again{holder}")


async def _report(steps: Awaitable[tuple[Step, ...]]) -> None:
    if not await steps:
        typer.echo("no change")


async def _print_version(migrator: Migrator) -> None:
    state = await migrator.state()
    number = "no version" if state.version is None else str(state.version)
    typer.echo(f"{number} (dirty)" if state.dirty else number)


def _confirm_down(limit: int | None, *, all_: bool) -> None:
    if all_ and limit is not None:
        raise typer.BadParameter("--all goes without a number")
    if all_ or limit is not None:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("say how many, or --all for all of them")
    typer.confirm("Undo all migrations?", abort=True)


def _run(connect: OpenMigrator, options: DatabaseOptions, action: _Action) -> None:
    async def session() -> None:
        async with connect(_Printer(), options) as migrator:
            _stop_on_signals(migrator)
            await action(migrator)

    try:
        asyncio.run(session())
    except Error as exc:
        raise _failure(exc) from exc
    except Exception as exc:
        # Not a migration's SQL, but around it: no right to make the table, a connection that broke.
        if not isinstance(exc, ServerError | OSError):
            raise
        _say(f"error: {exc}")
        raise typer.Exit(1) from exc
    except asyncio.CancelledError as exc:
        typer.echo("error: interrupted; see: migrate version", err=True)
        raise typer.Exit(_INTERRUPTED) from exc


def _failure(error: Error) -> typer.Exit:
    _say(f"error: {error}")
    if isinstance(error, MigrationFailed):
        for line in error.explanation:
            _say(f"  {line}")
    return typer.Exit(1)


def _say(line: str) -> None:
    """On stderr; the texts of SQL and of the server may hold what a terminal would interpret."""
    typer.echo(printable(line, keep="\n\t"), err=True)


def _stop_on_signals(migrator: Migrator) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stopping = False

    def interrupted() -> None:
        nonlocal stopping
        if stopping or not migrator.applying:
            if task is not None:
                task.cancel()
            return
        stopping = True
        migrator.stop()
        typer.echo("stopping after the running migration; again to cancel it", err=True)

    with suppress(NotImplementedError):  # where the loop cannot: an interrupt cancels at once
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
