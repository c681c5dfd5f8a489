"""Commands whose modules are imported when they are called, not when the list of them is shown.

A service's libraries take a second to import, and every ``--help``, ``token`` and completion of the
shell would wait for them. So the command line is a table of names, one line of help each, and where
the command is; the module named there has everything else. Typer, too, is imported only when a
command is called: it would take two thirds of the time of ``--help``. Rejected: imports inside the
functions of commands, which hide what a module needs; here only Typer is imported so. A path that
leads nowhere is found when the command is called, so a service tests that every command loads.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import typer

USAGE: Final = 2
"""The exit code of a command that was told wrongly: arguments or configuration."""

Command: TypeAlias = Callable[..., None]
"""A function with Typer's parameters: a command of its name."""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """One command or group. ``where`` is a function that gives a `typer.Typer`, or where it is.

    As text it is "module:function". ``argument``: what the function is called with, if anything.
    """

    name: str
    help: str
    where: "str | Callable[..., typer.Typer]"
    argument: object = None

    def load(self) -> Any:
        """The command itself. Any, for its type is of a library inside the library.

        Errors: those of `load_object`; KeyError when what is at ``where`` has no such command.
        """
        import typer  # noqa: PLC0415 - --help can spare it
        from typer.main import get_group  # noqa: PLC0415

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

    def make() -> "typer.Typer":
        import typer  # noqa: PLC0415 - --help can spare it

        app = typer.Typer(rich_markup_mode=None)
        app.command(name)(command)
        return app

    return LazyCommand(name, summary, make)


@dataclass(frozen=True, slots=True)
class LazyProgram:
    """A program of commands, in their order, with ``--version``; a call of it runs it.

    What is shown without any argument, for ``--help`` and for ``--version`` is written here;
    everything else, the shell's completion included, is left to Typer.
    """

    name: str
    version: str
    commands: Sequence[LazyCommand]
    description: str

    def __call__(self) -> None:
        """Run what ``sys.argv`` says, and exit as Typer does."""
        program, given = PurePath(sys.argv[0]).name, sys.argv[1:]
        variable = f"_{program}_COMPLETE".replace("-", "_").replace(".", "_").upper()
        as_module = getattr(sys.modules["__main__"], "__package__", None)
        if os.environ.get(variable) or as_module or given not in ([], ["--help"], ["--version"]):
            self.typer()()
        elif given == ["--version"]:
            sys.stdout.write(self.version_text)
        elif given:
            sys.stdout.write(self.help_text(program))
        else:
            sys.stderr.write(self.help_text(program))
            sys.exit(USAGE)

    def typer(self) -> "typer.Typer":
        """The whole program as Typer has it; its commands are loaded when they are called."""
        from paceline.commands.lazy_group import new_typer  # noqa: PLC0415 - --help can spare it

        return new_typer(self)

    @property
    def version_text(self) -> str:
        """What ``--version`` shows."""
        return f"{self.name} {self.version}\n"

    def help_text(self, called: str) -> str:
        """What ``--help`` shows where the program is ``called`` so, in the terminal's width."""
        width = max(min(shutil.get_terminal_size().columns, _WIDEST) - 2, _NARROWEST)
        indent = "  "
        about = textwrap.fill(
            self.description, width, initial_indent=indent, subsequent_indent=indent
        )
        commands = [(each.name, each.help) for each in self.commands]
        return "\n".join(
            [
                f"Usage: {called} [OPTIONS] COMMAND [ARGS]...\n",
                f"{about}\n",
                "Options:",
                *_rows(_OPTIONS, width),
                "\nCommands:",
                *_rows(commands, width),
                "",
            ]
        )


_WIDEST: Final = 80  # as Typer's
_NARROWEST: Final = 50
_OPTIONS: Final = (
    ("--version", "Show the version."),
    ("--install-completion", "Install completion for the current shell."),
    (
        "--show-completion",
        "Show completion for the current shell, to copy it or customize the installation.",
    ),
    ("--help", "Show this message and exit."),
)


def _rows(rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Two columns, with the second one wrapped."""
    column = 4 + max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        yield textwrap.fill(
            text,
            width,
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
        )
