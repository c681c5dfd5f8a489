"""The command line's own rules; what it does to a database is an integration test."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from paceline.commands.migrate import DatabaseOptions, migrator_commands
from paceline.postgres.migrate import Migrator, Progress


def no_database(
    progress: Progress, options: DatabaseOptions
) -> AbstractAsyncContextManager[Migrator]:
    raise NotImplementedError("this command needs no database")


def run(*arguments: str, folder: Path = Path("unused")) -> tuple[int, str, str]:
    result = CliRunner().invoke(migrator_commands(no_database, lambda: folder), arguments)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", ["up", "down", "goto", "force", "version", "new"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: migrate {command}" in out


WRONG = [
    ("up", "-1"),
    ("up", "x"),
    ("down",),
    ("down", "2", "--all"),
    ("goto",),
    ("goto", "-1"),
    ("goto", str(2**63)),
    ("force", "-2"),
    ("force", "x"),
    ("new",),
    ("drop",),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_usage_is_refused_before_anything_is_opened(arguments: tuple[str, ...]) -> None:
    code, _, err = run(*arguments)
    assert (code, "Usage: " in err) == (2, True)


def test_bare_down_without_a_terminal_needs_all() -> None:
    _, _, err = run("down")
    assert "say how many, or --all" in err


def test_new_makes_a_pair_and_prints_its_paths(tmp_path: Path) -> None:
    code, out, _ = run("new", "create_records", folder=tmp_path)
    assert code == 0
    assert out.split() == [
        str(tmp_path / "000001_create_records.up.sql"),
        str(tmp_path / "000001_create_records.down.sql"),
    ]


def test_new_refuses_an_odd_name(tmp_path: Path) -> None:
    code, out, err = run("new", "Odd Name", folder=tmp_path)
    assert (code, out) == (1, "")
    assert "'Odd Name' does not do for a migration" in err
