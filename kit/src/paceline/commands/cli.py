"""The command line of a service: the commands that every service has, and its own.

Made from a `ServiceSpec`. What a command needs is imported when it is called (``lazy``).
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from paceline.commands.lazy import LazyCommand, lazy_group
from paceline.commands.spec import ServiceSpec

_HERE = "paceline.commands"


def list_commands(spec: ServiceSpec) -> Sequence[LazyCommand]:
    """The commands in the order of ``--help``."""
    migrate = LazyCommand(
        "migrate", "Move the schema up or down.", f"{_HERE}.migrate:migrate_commands", spec
    )
    serving = f"{_HERE}.serve:serve_commands"
    return (
        LazyCommand(
            "run",
            "Start everything on engines of our own, to develop.",
            f"{_HERE}.run:run_commands",
            spec,
        ),
        LazyCommand("serve", "Serve requests: for production.", serving, spec),
        LazyCommand("worker", "Work off the queue: for production.", serving, spec),
        *([migrate] if spec.migrations else []),
        *spec.commands,
        LazyCommand("dead", "Look after dead letters.", f"{_HERE}.dead:dead_commands", spec),
        LazyCommand("token", "Make a bearer token.", f"{_HERE}.token:token_commands", spec),
        LazyCommand(
            "config",
            "Show what is in effect, and where it came from.",
            f"{_HERE}.show_config:config_commands",
            spec,
        ),
        LazyCommand(
            "doctor",
            "Check settings, machine and servers.",
            f"{_HERE}.doctor.command:doctor_commands",
            spec,
        ),
        LazyCommand("top", "Watch a running instance.", f"{_HERE}.top.command:top_commands", spec),
    )


def new_cli(spec: ServiceSpec) -> typer.Typer:
    """The whole command line.

    Example::

        def main() -> None:
            new_cli(SERVICE)()
    """
    app = typer.Typer(
        name=spec.name,
        help=f"{spec.help} Start with: {spec.name} run",
        cls=lazy_group(list_commands(spec)),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def show_version(*, wanted: bool) -> None:
        if wanted:
            typer.echo(f"{spec.name} {spec.version}")
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
