"""``myservice migrate``: the kit's commands, on this service's files and database.

Added to the command line by ``cli``; the commands are ``paceline.commands.migrate``.
The files are in ``migrations/``, which ``schema`` finds.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import typer

from myservice.config import MigrateConfig
from myservice.schema import migrations
from paceline.commands import load_or_fail, migrate_commands
from paceline.postgres.migrate import Migrator, Progress, open_migrator


def schema_commands() -> typer.Typer:
    """The group of commands."""
    return migrate_commands(_open_migrator, _new_migrations)


@asynccontextmanager
async def _open_migrator(
    context: typer.Context, progress: Progress
) -> AsyncGenerator[Migrator, None]:
    del context
    config = load_or_fail(MigrateConfig, {}, None).config
    async with open_migrator(config.get_database_url(), migrations(), progress) as migrator:
        yield migrator


def _new_migrations() -> Path:
    return Path(str(migrations()))
