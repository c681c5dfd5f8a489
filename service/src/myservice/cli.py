"""The command line: a table of the commands, each in a file of its own that ends in ``_cli``.

What a command needs is imported when it is called: most of this service's libraries have nothing to
do with the list of commands, a token or the version (``paceline.commands.lazy``). For serving read
``serving_cli`` next, then ``main``, where everything is wired.
"""

from typing import Annotated, Final

import typer

from myservice import __version__
from paceline.commands import LazyCommand, lazy_group

_SERVING: Final = "myservice.serving_cli:serving_commands"
_DOCTOR: Final = "myservice.doctor_cli:doctor_commands"
_SETTINGS: Final = "myservice.settings_cli:settings_commands"
COMMANDS: Final = (
    LazyCommand("run", "Start everything on engines of our own, to develop.", _SERVING),
    LazyCommand("serve", "Serve requests: for production.", _SERVING),
    LazyCommand("worker", "Pay orders and send the outbox: for production.", _SERVING),
    LazyCommand("migrate", "Move the schema up or down.", "myservice.schema_cli:schema_commands"),
    LazyCommand("records", "Import and export records.", "myservice.records_cli:records_commands"),
    LazyCommand("ledger", "Prove and feed the ledger.", "myservice.ledger_cli:ledger_commands"),
    LazyCommand("dead", "Look after dead letters.", "myservice.dead_cli:dead_commands"),
    LazyCommand("token", "Make a bearer token.", _SETTINGS),
    LazyCommand("config", "Show what is in effect, and where it came from.", _SETTINGS),
    LazyCommand("doctor", "Check settings, machine and servers.", _DOCTOR),
    LazyCommand("top", "Watch a running instance.", "myservice.top_cli:top_commands"),
)  # fmt: skip
"""In the order of the list; a line that is longer than these would be cut."""


def new_cli() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="myservice",
        help="The record service. Start with: myservice run",
        cls=lazy_group(COMMANDS),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
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
