"""The command line of a service: the commands that every service has, and its own.

Made from a `ServiceSpec`. What a command needs is imported when it is called (``lazy``).
"""

import sys
from collections.abc import Collection, Sequence
from typing import Final

from paceline.commands.lazy import USAGE, LazyCommand, LazyProgram
from paceline.commands.spec import ServiceSpec

_BEFORE: Final = (
    (
        "run",
        "Start everything on engines of our own, to develop.",
        "paceline.commands.run:run_commands",
    ),
    ("serve", "Serve requests: for production.", "paceline.commands.serve:serve_commands"),
    ("worker", "Work off the queue: for production.", "paceline.commands.serve:serve_commands"),
)
_MIGRATE: Final = (
    ("migrate", "Move the schema up or down.", "paceline.commands.migrate:migrate_commands"),
    ("psql", "Open psql on the database.", "paceline.commands.psql:psql_commands"),
)
_SEED: Final = (("seed", "Make sample data.", "paceline.commands.seed:seed_commands"),)
_AFTER: Final = (
    ("dead", "Look after dead letters.", "paceline.commands.dead:dead_commands"),
    ("token", "Make a bearer token.", "paceline.commands.token:token_commands"),
    (
        "config",
        "Show what is in effect, and where it came from.",
        "paceline.commands.show_config:config_commands",
    ),
    (
        "doctor",
        "Check settings, machine and servers.",
        "paceline.commands.doctor.command:doctor_commands",
    ),
    ("top", "Watch a running instance.", "paceline.commands.top.command:top_commands"),
    (
        "health",
        "Ask the process beside it whether it is well.",
        "paceline.commands.health:health_commands",
    ),
)


def list_commands(spec: ServiceSpec) -> Sequence[LazyCommand]:
    """The commands in the order of ``--help``; the service's own are in the middle."""
    listed = _BEFORE + (_MIGRATE if spec.migrations else ()) + (_SEED if spec.seed else ())
    before = [LazyCommand(*each, spec) for each in listed]
    after = [LazyCommand(*each, spec) for each in _AFTER]
    without = _of_no_use(spec)
    return (
        *(each for each in before if each.name not in without),
        *spec.get_commands(),
        *(each for each in after if each.name not in without),
    )


def _of_no_use(spec: ServiceSpec) -> Collection[str]:
    """Commands that need settings which the service has not; settings named as text may have all.

    They are not imported for a list.
    """
    if isinstance(spec.config, str):
        return ()
    from paceline.commands.settings import AuthSettings, NatsSettings  # noqa: PLC0415 - as above

    found: list[str] = []
    if not issubclass(spec.config, NatsSettings):
        found += ["dead"] if spec.works else ["dead", "worker"]
    if not issubclass(spec.config, AuthSettings):
        found.append("token")
    return found


def new_cli(spec: ServiceSpec) -> LazyProgram:
    """The whole command line. Ends the program when ``spec`` cannot be that of a service.

    Example::

        def main() -> None:
            new_cli(SERVICE)()
    """
    try:
        spec.check()
    except TypeError as exc:
        sys.stderr.write(f"ServiceSpec of {spec.name}: {exc}\n")
        raise SystemExit(USAGE) from exc
    return LazyProgram(
        spec.name,
        spec.version,
        list_commands(spec),
        description=f"{spec.help} Start with: {spec.program} run",
    )
