"""The command line: the service's name and parts for the kit's commands, and its own commands.

Parts are named as text and imported by the commands that need them, so ``--help`` is fast.
"""

from typing import Final

from myservice import __version__
from paceline.commands import (
    LazyCommand,  # paceline: only full
    ServiceSpec,
    new_cli,
)

SERVICE: Final = ServiceSpec(
    name="myservice",
    version=__version__,
    help="The record service.",
    config="myservice.config:Config",
    build="myservice.main:build",
    migrations="myservice:migrations",
    scopes="myservice.scopes:SCOPES",
    checks="myservice.checks:checks",  # paceline: only full
    seed="myservice.seed:seed",
    commands=(
        # paceline: only full {
        LazyCommand(
            "records", "Import and export records.", "myservice.command.records:records_commands"
        ),
        LazyCommand(
            "ledger",
            "Audit and credit the ledger.",
            "myservice.command.ledger:ledger_commands",
        ),
        # paceline: }
        # paceline: commands
    ),
)


def main() -> None:
    """The entry point of ``myservice``."""
    new_cli(SERVICE)()
