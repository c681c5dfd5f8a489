"""What a service states of itself; every command that services have is made from that.

Whatever needs a library is named as text, ``"package.module:name"``, as entry points are, and
imported by the command that uses it: ``--help``, ``token`` and ``migrate`` start without the
servers. A name that leads nowhere is found when it is used, so a service's tests use them all.
Rejected: a base class to derive from, which hides what is called when.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from paceline.commands.lazy import LazyCommand

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from paceline.commands.doctor import Check, DoctorRun
    from paceline.commands.settings import ServiceSettings
    from paceline.commands.wiring import Process, Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service, for `new_cli`.

    ``name``: of its program and in logs, traces and errors. ``help``: one sentence on it.
    ``config``: its class of settings, a `ServiceSettings`. ``build``: wires a process, of type
    ``Callable[[Config, Wiring], None]``. ``migrations``: the folder of its migrations, as
    ``"package:folder"``; "" when it has no database. ``scopes``: all that its tokens can have.
    ``checks``: what ``doctor`` looks at beside the usual, of type
    ``Callable[[Config, DoctorRun], Mapping[str, Check]]``. ``examples``: what ``run`` prints to
    try with ``$TOKEN``, of type ``Callable[[Config, Process], str]``.
    ``seed``: makes sample data and returns how many, by kind; called again it makes none; of type
    ``Callable[[Config], Mapping[str, int]]``.
    ``commands``: its own, which come after `run`, `serve`, `worker` and `migrate`.
    """

    name: str
    version: str
    help: str
    config: str
    build: str
    migrations: str = ""
    scopes: str = ""
    checks: str = ""
    examples: str = ""
    seed: str = ""
    commands: Sequence[LazyCommand] = ()

    def get_config(self) -> "type[ServiceSettings]":
        """The class of its settings."""
        found: type[ServiceSettings] = load_object(self.config)
        return found

    def get_build(self) -> "Callable[[Any, Wiring], None]":
        """What wires it."""
        found: Callable[[Any, Wiring], None] = load_object(self.build)
        return found

    def get_migrations(self) -> "Traversable":
        """The folder of its migrations. Errors: ValueError when it has none."""
        from importlib.resources import files  # noqa: PLC0415 - ten modules that --help can spare

        package, _, folder = self.migrations.partition(":")
        if not folder:
            raise ValueError(f"{self.name} states no migrations")
        return files(package).joinpath(folder)

    def get_scopes(self) -> Collection[str]:
        """Every scope; none when it states none."""
        found: Collection[str] = load_object(self.scopes) if self.scopes else ()
        return found

    def get_checks(self) -> "Callable[[Any, DoctorRun], Mapping[str, Check]] | None":
        """What makes its own checks."""
        found: Callable[[Any, DoctorRun], Mapping[str, Check]] | None = (
            load_object(self.checks) if self.checks else None
        )
        return found

    def get_examples(self) -> "Callable[[Any, Process], str] | None":
        """What makes the text to try it."""
        found: Callable[[Any, Process], str] | None = (
            load_object(self.examples) if self.examples else None
        )
        return found

    def get_seed(self) -> "Callable[[Any], Mapping[str, int]]":
        """What makes sample data. Errors: ValueError when it has none."""
        if not self.seed:
            raise ValueError(f"{self.name} states no seed")
        found: Callable[[Any], Mapping[str, int]] = load_object(self.seed)
        return found


def load_object(path: str) -> Any:
    """The object at ``"package.module:name"``. Any, for a text has no type.

    Errors: ImportError, AttributeError when there is none.
    """
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
