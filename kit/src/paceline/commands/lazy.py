"""Commands whose modules are imported when they are called, not when the list of them is shown.

A service's libraries take a second to import, and every ``--help``, ``token`` and completion of the
shell would wait for them. So the command line is a table of names, one line of help each, and where
the command is; the module named there has everything else. Rejected: imports inside functions,
which hide what a module needs. A path that leads nowhere is found when the command is called, so a
service tests that every command loads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

Command: TypeAlias = Callable[..., None]
"""A function with Typer's parameters: a command of its name."""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """One command or group. ``where`` is a function that gives a `typer.Typer`, or where it is.

    As text it is "module:function". ``argument``: what the function is called with, if anything.
    """

    name: str
    help: str
    where: str | Callable[..., typer.Typer]
    argument: object = None

    def load(self) -> Any:
        """The command itself. Any, for its type is of a library inside the library.

        Errors: those of `load_object`; KeyError when what is at ``where`` has no such command.
        """
        make = load_object(self.where) if isinstance(self.where, str) else self.where
        holder = typer.Typer(rich_markup_mode=None, add_completion=False)
        holder.add_typer(make() if self.argument is None else make(self.argument))
        return get_group(holder).commands[self.name]


def load_object(path: str) -> Any:
    """The object at ``"package.module:name"``. Any, for a text has no type.

    Errors: ImportError, AttributeError when there is none.
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def as_lazy(command: LazyCommand | Command) -> LazyCommand:
    """A function as the command it is: "import_notes" is ``import-notes``.

    Errors: ValueError for a function without a docstring, which is the command's help.
    """
    if isinstance(command, LazyCommand):
        return command
    name = command.__name__.strip("_").replace("_", "-")
    summary = (command.__doc__ or "").strip().partition("\n")[0]
    if not summary:
        raise ValueError(
            f"{command.__qualname__}: a command's docstring is its help; write at least one line"
        )

    def make() -> typer.Typer:
        app = typer.Typer(rich_markup_mode=None)
        app.command(name)(command)
        return app

    return LazyCommand(name, summary, make)


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


def lazy_group(commands: Sequence[LazyCommand]) -> type[TyperGroup]:
    """What ``typer.Typer(cls=…)`` takes, for a program of these commands in this order."""

    class Group(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            for each in commands:
                self.add_command(_Placeholder(each))

    return Group


def lazy_program(
    name: str, version: str, commands: Sequence[LazyCommand], *, description: str
) -> typer.Typer:
    """A program of these commands, with ``--version``."""
    app = typer.Typer(
        name=name,
        help=description,
        cls=lazy_group(commands),
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def show_version(*, wanted: bool) -> None:
        if wanted:
            typer.echo(f"{name} {version}")
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
