"""The program ``paceline``: its list of commands, each imported when it is called."""

from typing import Final

from paceline import __version__
from paceline.commands import LazyCommand, LazyProgram

COMMANDS: Final = (
    LazyCommand("new", "Make a new service.", "paceline.scaffold.new:new_commands"),
    LazyCommand("add", "Add to a service.", "paceline.scaffold.add:add_commands"),
    LazyCommand("remove", "Remove what was added.", "paceline.scaffold.remove:remove_commands"),
    LazyCommand(
        "update",
        "Bring a service's files up to this version.",
        "paceline.scaffold.update:update_commands",
    ),
)


def new_program() -> LazyProgram:
    """The whole command line."""
    return LazyProgram(
        "paceline",
        __version__,
        COMMANDS,
        description="Make services, and keep them current. Start with: paceline new NAME",
    )


def main() -> None:
    """The entry point of ``paceline``."""
    new_program()()
