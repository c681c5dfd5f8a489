"""A `LazyProgram` as Typer runs it: each command is loaded when it is called, or completed.

Its help is the program's own, so that the two ways to it show the same.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from paceline.commands.lazy import LazyCommand, LazyProgram


class _Placeholder(TyperCommand):
    """A command in the list that becomes the real one when it is used."""

    def __init__(self, lazy: LazyCommand) -> None:
        super().__init__(lazy.name, help=lazy.help)
        self._lazy = lazy

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Every use of a command begins with this, and goes on with the context's command."""
        return self._lazy.load().make_context(info_name, args, parent, **extra)


def _group_of(program: LazyProgram) -> type[TyperGroup]:
    """What ``typer.Typer(cls=…)`` takes."""

    class Group(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            for each in program.commands:
                self.add_command(_Placeholder(each))

        def format_help(self, ctx: Any, formatter: Any) -> None:
            formatter.write(program.help_text(ctx.command_path))

    return Group


def new_typer(program: LazyProgram) -> typer.Typer:
    """The program, with ``--version``."""
    app = typer.Typer(
        name=program.name,
        help=program.description,
        cls=_group_of(program),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def show_version(*, wanted: bool) -> None:
        if wanted:
            typer.echo(program.version_text, nl=False)
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
