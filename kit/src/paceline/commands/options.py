"""Every setting as a flag: the top layer of the configuration, made from the same class.

`with_flags` gives a Typer command one option for each field of its `Settings`, with the field's
own help, and hands the command the loaded configuration. So there is no second list of settings
to keep in step, and ``--help`` is as complete as the class. Values are text and mean the same as
in any other layer; the shell completes those of a field that takes only a few. `SettingsCommand`
shows the options under the headings of the groups that they come from. `fail` is how commands end
badly. Rejected: Typer's panels, for which every ``--help`` would import rich.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Never, TypeAlias, TypeVar

import typer
from typer.core import TyperCommand

from paceline.commands.instance import KEPT, InstanceSettings, say_dimly
from paceline.commands.lazy import USAGE
from paceline.commands.settings import Command, ServiceSettings
from paceline.config import (
    ConfigError,
    FindProblems,
    Layer,
    Loaded,
    Needed,
    Settings,
    choices_of,
    load,
    metavar_of,
    show_value,
)
from paceline.errors import Error
from paceline.log import printable

S = TypeVar("S", bound=Settings)

ConfigFile: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]
DatabaseUrl: TypeAlias = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="PostgreSQL, as for serve.")
]
_OWN: Final = "This service"
_WIDTH: Final = 28
DataDir: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        help="Of a run, for what is not given; .data by default.",
    ),
]
_NO_SWITCHES: Final[Mapping[str, str]] = MappingProxyType({})


def fail(message: str, *, code: int = 1) -> Never:
    """Say on stderr what is wrong and end the command; what is not printable is escaped."""
    sys.stderr.write(printable(message.rstrip(), keep="\n") + "\n")
    raise typer.Exit(code)


def load_or_fail(
    settings: type[S],
    flags: Mapping[str, object],
    file: Path | None,
    *,
    needed: Needed | None = None,
    find_problems: FindProblems | None = None,
    running: bool = False,
) -> Loaded[S]:
    """Load from flags, environment, ``./.env`` and ``file``; list every problem and exit 2.

    ``running``: what these do not give is taken from the development instance on the data folder,
    if one runs there (`find_instance`), which a terminal is told.
    """
    found = InstanceSettings(settings) if running else None
    try:
        loaded = load(
            settings,
            flags=flags,
            dotenv=Path(".env"),
            file=file,
            needed=needed,
            find_problems=find_problems,
            fallback=found,
        )
    except ConfigError as exc:
        hint = ""
        lacking = {each.variable for each in exc.problems if each.origin is None}
        if found is not None and lacking & {settings.variable(field) for field in KEPT}:
            hint = f"\nGive it, or start `run`, whose own is used then: {found.explain()}."
        fail(f"The configuration cannot be used:\n{exc}{hint}", code=USAGE)
    except Error as exc:
        fail(str(exc), code=USAGE)
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {printable(warning)}\n")
    for line in _taken(loaded, needed):
        say_dimly(line)
    return loaded


def _taken(loaded: Loaded[Settings], needed: Needed | None) -> Sequence[str]:
    """What the command needs and takes from an instance, one line for each origin."""
    origins = loaded.origins
    given = {
        name: getattr(loaded.config, name)
        for name, origin in origins.items()
        if origin.layer is not Layer.DEFAULT
    }
    taken: dict[str, list[str]] = {}
    for name in needed(given) if needed is not None else ():
        if origins[name].layer is Layer.FALLBACK:
            taken.setdefault(str(origins[name]), []).append(loaded.config.variable(name))
    return [f"{', '.join(names)}: that of {where}" for where, names in taken.items()]


def with_flags(
    settings: type[S],
    command: Callable[..., None],
    *,
    needed: Needed | None = None,
    find_problems: FindProblems | None = None,
    switches: Mapping[str, str] = _NO_SWITCHES,
) -> Callable[..., None]:
    """``command`` as a Typer command that takes every field of ``settings`` as an option.

    It is called with what was loaded, a `Loaded`. ``switches``: options that are no settings, by
    name, with their help; it gets them as keywords.
    """

    def run(config_file: Path | None = None, **flags: Any) -> None:
        switched = {name: flags.pop(name) for name in switches}
        loaded = load_or_fail(
            settings, flags, config_file, needed=needed, find_problems=find_problems
        )
        command(loaded, **switched)

    parameters = [_parameter("config_file", ConfigFile)]
    for name, text in switches.items():
        switch = typer.Option(f"--{name.replace('_', '-')}", help=text)
        parameters.append(_parameter(name, Annotated[bool, switch], default=False))
    for group in settings.groups():
        heading = _OWN if group.own else group.heading
        for name in group.fields:
            option = _option(settings, name, heading)
            parameters.append(_parameter(name, Annotated[str | None, option]))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    about = (command.func if isinstance(command, partial) else command).__doc__
    variable = settings.variable("log_level")
    run.__doc__ = f"{about}\n\nEach option is a variable, too: --log-level is {variable}."
    return run


def add_process_command(
    app: typer.Typer,
    settings: type[ServiceSettings],
    name: Command,
    command: Callable[..., None],
    *,
    example: str,
    switches: Mapping[str, str] = _NO_SWITCHES,
) -> None:
    """Add a command that runs the service with all its settings; see `with_flags`."""
    make = app.command(name, cls=SettingsCommand, epilog=f"Example: {example}")
    make(
        with_flags(
            settings,
            command,
            needed=partial(settings.needed_by, name),
            find_problems=partial(settings.problems_for, name),
            switches=switches,
        )
    )


def complete_from(values: Sequence[str]) -> Callable[[str], list[str]]:
    """What ``typer.Option(autocompletion=…)`` takes, for an option that takes one of these."""

    def complete(incomplete: str) -> list[str]:
        return [each for each in values if each.startswith(incomplete)]

    return complete


class SettingsCommand(TyperCommand):
    """A command whose ``--help`` has a heading for each group of settings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write all options; the columns of all groups are the same."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                heading = getattr(parameter, "rich_help_panel", None) or "Options"
                groups.setdefault(heading, []).append(row)
        for heading, rows in groups.items():
            # Styles are left out where the output is no terminal.
            with formatter.section(typer.style(heading, bold=True)):
                # The first one sets the width of the column.
                first, text = rows[0]
                formatter.write_dl([(f"{first:{_WIDTH}}", text), *rows[1:]], col_max=_WIDTH)


def _option(settings: type[Settings], name: str, heading: str) -> Any:
    field = settings.model_fields[name]
    choices = choices_of(field)
    default = None if field.is_required() else show_value(field, field.default)
    return typer.Option(
        f"--{name.replace('_', '-')}",
        metavar=metavar_of(field),
        help=(field.description or "").replace("`", "")
        + (f" [default: {default}]" if default else ""),
        rich_help_panel=heading,
        autocompletion=complete_from(choices) if choices else None,
    )


def _parameter(name: str, annotation: Any, *, default: object = None) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
