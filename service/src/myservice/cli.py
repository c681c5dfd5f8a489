"""The command line: what this service states of itself, and its own commands.

What a command needs is imported when it is called, so it is named here as text.
"""

from typing import Final

from myservice import __version__
from paceline.commands import LazyCommand, ServiceSpec, new_cli

SERVICE: Final = ServiceSpec(
    name="myservice",
    version=__version__,
    help="The record service.",
    config="myservice.config:Config",
    build="myservice.main:build",
    migrations="myservice:migrations",
    scopes="myservice.scopes:SCOPES",
    checks="myservice.checks:checks",
    examples="myservice.examples:examples",
    commands=(
        LazyCommand(
            "records", "Import and export records.", "myservice.command.records:records_commands"
        ),
        LazyCommand(
            "ledger", "Prove and feed the ledger.", "myservice.command.ledger:ledger_commands"
        ),
    ),
)


def main() -> None:
    """The entry point of ``myservice``."""
    new_cli(SERVICE)()
