"""Every command of the list is there, under its name, and the list itself needs no library."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from myservice.cli import SERVICE
from paceline.commands import LazyCommand, list_commands

COMMANDS = list_commands(SERVICE)
WITHOUT_INSTANCE = {"migrate new", "health"}  # a container's health check knows its process
HEAVY = ("asyncpg", "google", "grpc", "joserfc", "nats", "pydantic", "redis", "textual")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_can_be_loaded(command: LazyCommand) -> None:
    found = command.load()
    assert found.name == command.name
    assert found.help
    assert len(command.help) <= 54, "or the list cuts it"


def leaves(command: LazyCommand) -> Iterator[tuple[str, Any]]:
    """A command, or those of a group, by their words. Any: their types are inside a library."""
    found = command.load()
    for name, inner in getattr(found, "commands", {"": found}).items():
        yield f"{command.name} {name}".strip(), inner


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_takes_the_data_folder_of_the_instance_it_is_to_find(
    command: LazyCommand,
) -> None:
    for name, leaf in leaves(command):
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert "--data-dir" in options or name in WITHOUT_INSTANCE, name


def test_no_command_is_listed_twice() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


def test_the_list_of_commands_needs_none_of_the_large_libraries() -> None:
    code = "import sys; import myservice.cli as c, paceline.commands as p; p.new_cli(c.SERVICE); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert [name for name in HEAVY if name in loaded.stdout.split()] == []
