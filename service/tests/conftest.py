"""Fixtures for the service's tests: a migrated database for each, cloned from one template."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from memory_records import MemoryRecords
from valkey import Valkey, redis_server

from myservice.cli import SERVICE
from myservice.domain.records import Record, RecordNotFound
from myservice.repository.cached_records import CachedRecords
from myservice.repository.records import PgRecords
from myservice.service.records import RecordRepository
from paceline.clock import SystemClock
from paceline.engines import PostgresEngine
from paceline.postgres import Pool, PoolSettings
from paceline.postgres.migrate import open_migrator
from paceline.redis import CacheAside, CacheSettings, Redis, RedisStore
from paceline.testing import RecordingLog, TemplateDatabase, database, nats, postgres, redis

__all__ = [
    "database",
    "migrated",
    "nats",
    "pool",
    "postgres",
    "redis",
    "redis_server",
    "repository",
    "template",
]


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


@pytest.fixture
async def cache(redis: Valkey) -> AsyncGenerator[CacheAside[Record]]:
    """A cache of records in a real server, empty."""
    clock, log = SystemClock(), RecordingLog()
    server = Redis(redis.url, log, clock, timeout=5.0)
    store = RedisStore(server, name=uuid4().hex)
    found = CacheAside(
        store, log, clock,
        name="records", type=Record, settings=CacheSettings(ttl=60.0), negative=RecordNotFound,
    )  # fmt: skip
    await server.start()
    yield found
    await found.stop()
    await server.stop()


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.integration),
        pytest.param("cached", marks=pytest.mark.integration),
    ]
)
def repository(request: pytest.FixtureRequest) -> RecordRepository:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryRecords()
    records = PgRecords(request.getfixturevalue("pool"))
    if request.param == "postgres":
        return records
    return CachedRecords(records, request.getfixturevalue("cache"))
