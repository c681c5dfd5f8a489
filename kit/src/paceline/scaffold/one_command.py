"""What ``paceline add command`` makes: a command of the service, its place in the list, a test."""

from collections.abc import Mapping, Sequence
from typing import Final

from paceline.scaffold.wiring_edits import Insertion

_COMMAND: Final = '''"""``__PROGRAM__ __WORD__``."""

from typing import Annotated

import typer

from __PACKAGE__.config import Config
from paceline.commands import ConfigFile, DatabaseUrl, DataDir, load_for, run_once
from paceline.postgres import Pool, PoolSettings


def __NAME___commands() -> typer.Typer:
    """The command."""
    app = typer.Typer()
    app.command("__WORD__", epilog="Example: __PROGRAM__ __WORD__ --data-dir .data")(___NAME__)
    return app


def ___NAME__(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config_file: ConfigFile = None,
) -> None:
    """Say what this command does; it runs on the service's database."""
    flags = {"database_url": database_url, "data_dir": data_dir}
    config = load_for(Config, "migrate", flags, config_file)
    settings = PoolSettings(min_size=1, max_size=2, application_name="__WORD__")
    pool = Pool(config.get_database_url(), settings)
    tables = run_once([pool], lambda: count_tables(pool))
    typer.echo(f"{tables} tables{'; nothing was changed' if dry_run else ''}")


async def count_tables(pool: Pool) -> int:
    """How many tables the database has: the work of this command goes in its place."""
    found: int = await pool.fetchval(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
    )
    return found
'''
_TEST: Final = '''"""``__PROGRAM__ __WORD__`` on a real PostgreSQL."""

import pytest

from __PACKAGE__.command.__NAME__ import count_tables
from paceline.postgres import Pool

pytestmark = pytest.mark.integration


async def test_the_tables_are_counted(pool: Pool) -> None:
    assert await count_tables(pool) > 0
'''


def command_files(package: str, program: str, name: str) -> Mapping[str, str]:
    """What is made, by path. ``name`` in snake case; the word to type has hyphens."""
    words = {
        "__PROGRAM__": program,
        "__PACKAGE__": package,
        "__WORD__": name.replace("_", "-"),
        "__NAME__": name,
    }
    made = {
        f"src/{package}/command/{name}.py": _COMMAND,
        f"tests/integration/test_{name}_command.py": _TEST,
    }
    for word, value in words.items():
        made = {path: text.replace(word, value) for path, text in made.items()}
    return made


def command_insertions(package: str, name: str) -> Sequence[Insertion]:
    """What the command line needs."""
    word, place = name.replace("_", "-"), f"{package}.command.{name}:{name}_commands"
    return [
        Insertion(
            f"src/{package}/cli.py",
            ["from paceline.commands import LazyCommand"],
            [
                (
                    "commands",
                    [
                        "LazyCommand(",
                        f'    "{word}",',
                        '    "Say what this command does.",',
                        f'    "{place}",',
                        "),",
                    ],
                )
            ],
        )
    ]
