"""Every setting as a flag: the top layer of the configuration, made from the same class.

`with_flags` gives a Typer command one option for each field of its `Settings`, with the field's
own help, and hands the command the loaded configuration. So there is no second list of settings
to keep in step, and ``--help`` is as complete as the class. Values are text and mean the same as
in any other layer. Used by a service's command line; `fail` is how its commands end badly.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Never, TypeAlias, TypeVar

import typer

from paceline.commands.instance import KEPT, InstanceSettings, say_dimly
from paceline.config import ConfigError, Layer, Loaded, Needed, Settings, load
from paceline.errors import Error

S = TypeVar("S", bound=Settings)

ConfigFile: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in a TOML or YAML file.")
]
DatabaseUrl: TypeAlias = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="PostgreSQL, as for serve.")
]
DataDir: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        help="Of a `run`, for what is not given; .data by default.".replace("`", ""),
    ),
]
USAGE: Final = 2
"""The exit code of a command that was told wrongly: arguments or configuration."""
_NO_SWITCHES: Final[Mapping[str, str]] = MappingProxyType({})


def fail(message: str, *, code: int = 1) -> Never:
    """Say on stderr what is wrong and end the command."""
    sys.stderr.write(message.rstrip() + "\n")
    raise typer.Exit(code)


def load_or_fail(
    settings: type[S],
    flags: Mapping[str, object],
    file: Path | None,
    *,
    needed: Needed | None = None,
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
        sys.stderr.write(f"warning: {warning}\n")
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
    switches: Mapping[str, str] = _NO_SWITCHES,
) -> Callable[..., None]:
    """``command`` as a Typer command that takes every field of ``settings`` as an option.

    It is called with what was loaded, a `Loaded`. ``switches``: options that are no settings, by
    name, with their help; it gets them as keywords.
    """

    def run(config_file: Path | None = None, **flags: Any) -> None:
        switched = {name: flags.pop(name) for name in switches}
        command(load_or_fail(settings, flags, config_file, needed=needed), **switched)

    parameters = [_parameter("config_file", ConfigFile)]
    for name, text in switches.items():
        switch = typer.Option(f"--{name.replace('_', '-')}", help=text)
        parameters.append(_parameter(name, Annotated[bool, switch], default=False))
    for name, field in settings.model_fields.items():
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            metavar="TEXT",
            help=(field.description or "").replace("`", ""),
        )
        parameters.append(_parameter(name, Annotated[str | None, option]))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = (command.func if isinstance(command, partial) else command).__doc__
    return run


def _parameter(name: str, annotation: Any, *, default: object = None) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
