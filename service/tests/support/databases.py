"""Fixtures with the service's schema: a migrated database for each test, cloned from one template."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from myservice.cli import SERVICE
from paceline.engines import PostgresEngine
from paceline.postgres import Pool, PoolSettings
from paceline.postgres.migrate import open_migrator
from paceline.testing import TemplateDatabase


async def migrate(dsn: str) -> None:
    async with open_migrator(dsn, SERVICE.get_migrations()) as migrator:
        await migrator.up()


@pytest.fixture(scope="session")
def template(postgres: PostgresEngine) -> TemplateDatabase:
    """The schema, migrated once."""
    found = TemplateDatabase(postgres, migrate)
    asyncio.run(found.create())
    return found


@pytest.fixture
async def migrated(template: TemplateDatabase) -> AsyncGenerator[str]:
    """The DSN of a database with the service's schema."""
    async with template.clone() as dsn:
        yield dsn


@pytest.fixture
async def pool(migrated: str) -> AsyncGenerator[Pool]:
    """A started pool on a migrated database."""
    async with _started_pool(migrated) as found:
        yield found


@pytest.fixture
async def other_pool(migrated: str) -> AsyncGenerator[Pool]:
    """A second started pool on the same database, as another replica has one."""
    async with _started_pool(migrated) as found:
        yield found


@asynccontextmanager
async def _started_pool(dsn: str) -> AsyncGenerator[Pool]:
    found = Pool(dsn, PoolSettings(min_size=1, max_size=4))
    await found.start()
    yield found
    await found.stop()
