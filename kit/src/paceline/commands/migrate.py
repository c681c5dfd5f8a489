"""``migrate``: the command line over a `Migrator`, in golang-migrate's words.

How to reach the database and where the files are is the program's business, so both come in as
functions; only commands that need the database open it. Failures are told here, once, on stderr,
with exit code 1. The first interrupt lets the running migration finish, the next one cancels it.
Mounted by a service's own command line: ``app.add_typer(migrate_commands(...))``.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Annotated

import typer

from paceline.errors import Error
from paceline.postgres.migrate import (
    MigrationFailed,
    Migrator,
    Progress,
    ServerError,
    Step,
    create_migration,
)

OpenMigrator = Callable[[typer.Context, Progress], AbstractAsyncContextManager[Migrator]]
"""Opens a connection for one command; the migrator must report to the `Progress` it is given."""

_Action = Callable[[Migrator], Awaitable[object]]
_NO_VERSION = -1
_MAX_VERSION = 2**63 - 1
_INTERRUPTED = 130

_Limit = Annotated[int | None, typer.Argument(min=0, metavar="N", help="How many.")]
_Version = Annotated[int, typer.Argument(min=0, max=_MAX_VERSION, metavar="V")]
_Forced = Annotated[int, typer.Argument(min=_NO_VERSION, max=_MAX_VERSION, metavar="V")]
_All = Annotated[bool, typer.Option("--all", help="Undo all of them, without asking.")]


def migrate_commands(open_migrator: OpenMigrator, new_dir: Callable[[], Path]) -> typer.Typer:
    """The ``migrate`` group. ``new_dir`` gives the folder in which ``new`` makes its files."""
    app = typer.Typer(
        name="migrate",
        help="Move the database between schema versions (compatible with golang-migrate).",
        no_args_is_help=True,
        rich_markup_mode=None,
    )

    @app.command(epilog="Example: migrate up, or migrate up 1 for the next one only.")
    def up(context: typer.Context, limit: _Limit = None) -> None:
        """Apply all migrations that are not applied yet, or the next N of them."""
        _drive(open_migrator, context, lambda migrator: _report(migrator.up(limit)))

    @app.command(epilog="Example: migrate down 1 undoes the last one.")
    def down(context: typer.Context, limit: _Limit = None, *, all_: _All = False) -> None:
        """Undo the last N migrations, or all of them."""
        _confirm_down(limit, all_=all_)
        _drive(open_migrator, context, lambda migrator: _report(migrator.down(limit)))

    @app.command(epilog="Example: migrate goto 3")
    def goto(context: typer.Context, version: _Version) -> None:
        """Migrate up or down to version V."""
        _drive(open_migrator, context, lambda migrator: _report(migrator.goto(version)))

    # A version of -1 must not be taken for an option.
    @app.command(
        context_settings={"ignore_unknown_options": True},
        epilog="Example: migrate force 2, after repairing by hand; migrate force -1 for none.",
    )
    def force(context: typer.Context, version: _Forced) -> None:
        """Say that the schema is at version V and clean; run nothing. -1 means no version."""
        target = None if version == _NO_VERSION else version
        _drive(open_migrator, context, lambda migrator: migrator.force(target))

    @app.command(epilog="Example: migrate version prints 3, or 3 (dirty) after a failure.")
    def version(context: typer.Context) -> None:
        """Print the version the database is at."""
        _drive(open_migrator, context, _print_version)

    @app.command(epilog="Example: migrate new add_colour makes 000004_add_colour.{up,down}.sql")
    def new(name: Annotated[str, typer.Argument(help="Such as create_records.")]) -> None:
        """Make an empty pair of migration files with the next number."""
        try:
            for path in create_migration(new_dir(), name):
                typer.echo(path)
        except Error as exc:
            raise _told(exc) from exc

    return app


class _Printer:
    """Prints each step as it is done: ``000001/u create_records (12.3ms)``."""

    def applied(self, step: Step, seconds: float) -> None:
        typer.echo(f"{step} ({seconds * 1000:.1f}ms)")


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


def _drive(open_migrator: OpenMigrator, context: typer.Context, action: _Action) -> None:
    async def session() -> None:
        async with open_migrator(context, _Printer()) as migrator:
            _heed_signals(migrator)
            await action(migrator)

    try:
        asyncio.run(session())
    except Error as exc:
        raise _told(exc) from exc
    except Exception as exc:
        # Not a migration's SQL, but around it: no right to make the table, a connection that broke.
        if not isinstance(exc, ServerError | OSError):
            raise
        typer.echo(f"error: {exc}", err=True)
        raise typer.Exit(1) from exc
    except asyncio.CancelledError as exc:
        typer.echo("error: interrupted; see: migrate version", err=True)
        raise typer.Exit(_INTERRUPTED) from exc


def _told(error: Error) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    if isinstance(error, MigrationFailed):
        for line in error.explanation:
            typer.echo(f"  {line}", err=True)
    return typer.Exit(1)


def _heed_signals(migrator: Migrator) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    heard = False

    def interrupted() -> None:
        nonlocal heard
        if heard or not migrator.applying:
            if task is not None:
                task.cancel()
            return
        heard = True
        migrator.stop()
        typer.echo("stopping after the running migration; again to cancel it", err=True)

    with suppress(NotImplementedError):  # where the loop cannot: an interrupt cancels at once
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
