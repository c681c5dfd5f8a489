"""Fixtures for the service's tests: a migrated database for each, cloned from one template."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from memory_records import MemoryRecords

from myservice.repository.records import PgRecords
from myservice.schema import open_migrator
from myservice.service.records import RecordRepository
from paceline.engines import PostgresEngine
from paceline.pg import Pool
from paceline.testing.fixtures import database, nats, postgres, redis
from paceline.testing.postgres import TemplateDatabase

__all__ = [
    "database",
    "migrated",
    "nats",
    "pool",
    "postgres",
    "redis",
    "repository",
    "template",
]


async def migrate(dsn: str) -> None:
    async with open_migrator(dsn) as migrator:
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
    found = Pool(migrated, min_size=1, max_size=4)
    await found.start()
    yield found
    await found.stop()


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def repository(request: pytest.FixtureRequest) -> RecordRepository:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryRecords()
    return PgRecords(request.getfixturevalue("pool"))
