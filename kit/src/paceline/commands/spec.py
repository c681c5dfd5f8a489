"""What a service states of itself; every command that services have is made from that.

A part is given as itself (a class, a function, a folder), or as text, ``"package.module:name"``, as
entry points are. A service in one file gives objects. One whose libraries are slow to import gives
texts, which the command that uses them imports: ``--help``, ``token`` and ``migrate`` then start
without the servers. A text that leads nowhere is found when it is used, so a service's tests use
them all. Rejected: a base class to derive from, which hides what is called when.
"""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from paceline.commands.lazy import Command, LazyCommand, as_lazy, load_object
from paceline.commands.program import program_words

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from typing_extensions import TypeVar

    from paceline.commands.doctor import Check, DoctorRun
    from paceline.commands.settings import ServiceSettings
    from paceline.commands.wiring import Wiring

    C = TypeVar("C", bound=ServiceSettings, default=Any)
else:
    # The library that has defaults for type variables is one that --help can spare.
    from typing import TypeVar

    C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec(Generic[C]):
    """A service, for `new_cli`: all but ``name``, ``version`` and ``help`` as object or as text.

    ``name``: of its program and in logs, traces and errors. ``help``: one sentence on it.
    ``config``: its class of settings. ``build``: wires a process. ``migrations``: the folder of its
    migrations, such as ``pathlib.Path(__file__).with_name("migrations")``, or
    ``"package:folder"``; "" when it has no database. ``scopes``: all that its tokens can have, or
    where they are; a route or method that needs another one is refused when it is wired.
    ``checks``: what ``doctor`` looks at beside the usual. ``seed``: makes sample data and returns
    how many, by kind; called again it makes none.
    ``commands``: its own, which come after `run`, `serve`, `worker` and `migrate`; a function is a
    command of its name with the first line of its docstring as help, as in Typer.
    ``works``: it has something to do for ``worker`` although its settings name no queue.
    """

    name: str
    version: str = "0.0.0"
    help: str = ""
    config: "type[C] | str"
    build: "Callable[[C, Wiring], None] | str"
    migrations: "Traversable | str" = ""
    scopes: Collection[str] = ()
    checks: "Callable[[C, DoctorRun], Mapping[str, Check]] | str" = ""
    seed: "Callable[[C], Mapping[str, int]] | str" = ""
    commands: Sequence[LazyCommand | Command] = ()
    works: bool = False

    def check(self) -> None:
        """Refuse a configuration that is no class of settings. Errors: TypeError."""
        if isinstance(self.config, str):
            return
        from paceline.commands.settings import ServiceSettings  # noqa: PLC0415 - as for --help

        given: Any = self.config
        name = getattr(given, "__name__", "Config")
        if isinstance(given, ServiceSettings):
            itself = type(given).__name__
            raise TypeError(f"config is an instance; write the class itself: config={itself}")
        if not (isinstance(given, type) and issubclass(given, ServiceSettings)):
            raise TypeError(
                f"config is {given!r}; write a class of settings, such as"
                f" class {name}(HttpSettings, AuthSettings)"
            )

    @property
    def program(self) -> str:
        """How it is called in this folder, for texts that people paste: "python app.py"."""
        return shlex.join(program_words(self.name))

    def get_config(self) -> "type[C]":
        """The class of its settings."""
        found: type[C] = _loaded(self.config)
        return found

    def get_build(self) -> "Callable[[C, Wiring], None]":
        """What wires it."""
        found: Callable[[C, Wiring], None] = _loaded(self.build)
        return found

    def get_migrations(self) -> "Traversable":
        """The folder of its migrations. Errors: ValueError when it has none."""
        if not isinstance(self.migrations, str):
            return self.migrations
        from importlib.resources import files  # noqa: PLC0415 - ten modules that --help can spare

        package, _, folder = self.migrations.partition(":")
        if not folder:
            raise ValueError(f"{self.name} states no migrations")
        return files(package).joinpath(folder)

    def get_scopes(self) -> Collection[str]:
        """Every scope; none when it states none."""
        if not isinstance(self.scopes, str):
            return self.scopes
        found: Collection[str] = _loaded(self.scopes) if self.scopes else ()
        return found

    def get_checks(self) -> "Callable[[C, DoctorRun], Mapping[str, Check]] | None":
        """What makes its own checks."""
        found: Callable[[C, DoctorRun], Mapping[str, Check]] | None = (
            _loaded(self.checks) if self.checks else None
        )
        return found

    def get_seed(self) -> "Callable[[C], Mapping[str, int]]":
        """What makes sample data. Errors: ValueError when it has none."""
        if not self.seed:
            raise ValueError(f"{self.name} states no seed")
        found: Callable[[C], Mapping[str, int]] = _loaded(self.seed)
        return found

    def get_commands(self) -> Sequence[LazyCommand]:
        """Its own commands."""
        return [as_lazy(each) for each in self.commands]


def _loaded(part: object) -> Any:
    return load_object(part) if isinstance(part, str) else part
