"""The program ``paceline``: its list of commands, each imported when it is called."""

from typing import Annotated, Final

import typer

from paceline import __version__
from paceline.commands import LazyCommand, lazy_group

COMMANDS: Final = (
    LazyCommand("new", "Make a new service.", "paceline.scaffold.new:new_commands"),
    LazyCommand("add", "Add to a service.", "paceline.scaffold.add:add_commands"),
    LazyCommand("remove", "Remove what was added.", "paceline.scaffold.remove:remove_commands"),
    LazyCommand(
        "update",
        "Bring a service's files up to this version.",
        "paceline.scaffold.update:update_commands",
    ),
)


def new_program() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="paceline",
        help="Make services, and keep them current. Start with: paceline new NAME",
        cls=lazy_group(COMMANDS),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def show_version(*, wanted: bool) -> None:
        if wanted:
            typer.echo(f"paceline {__version__}")
            raise typer.Exit

    def root(
        *,
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=show_version, is_eager=True, help="Show the version."
            ),
        ] = False,
    ) -> None:
        del version

    app.callback()(root)
    return app


def main() -> None:
    """The entry point of ``paceline``."""
    new_program()()
