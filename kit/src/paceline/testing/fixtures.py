"""Fixtures with real servers, and hooks that fail a test which blocks its event loop.

For a conftest to import. ``postgres``, ``nats`` and ``redis``: one server each a session (one a
worker under xdist, each with a folder of its own), started by the first test that uses it;
``database``: the DSN of an empty database that is dropped after the test. A project with migrations
adds a session fixture with a `TemplateDatabase` and yields its clones. The servers' fixtures are
plain functions: each test has an event loop of its own, the servers have none.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest

from paceline.engines import NatsEngine, PostgresEngine, RedisEngine
from paceline.testing.blocked_loop import pytest_asyncio_loop_factories, pytest_runtest_call
from paceline.testing.nats_servers import new_test_nats
from paceline.testing.postgres_servers import fresh_database, new_test_postgres, scratch_folder
from paceline.testing.redis_servers import new_test_redis

__all__ = [
    "database",
    "nats",
    "postgres",
    "pytest_asyncio_loop_factories",
    "pytest_runtest_call",
    "redis",
]


E = TypeVar("E", PostgresEngine, NatsEngine, RedisEngine)


def _running(create: Callable[[Path], E]) -> Generator[E]:
    with scratch_folder() as folder:
        server = create(folder)
        asyncio.run(server.start())
        yield server
        asyncio.run(server.stop())


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresEngine]:
    """A running PostgreSQL, for this session."""
    yield from _running(new_test_postgres)


@pytest.fixture
async def database(postgres: PostgresEngine) -> AsyncGenerator[str]:
    """The DSN of an empty database, for this test."""
    async with fresh_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def nats() -> Generator[NatsEngine]:
    """A running NATS with JetStream, for this session: each test uses streams of its own."""
    yield from _running(new_test_nats)


@pytest.fixture(scope="session")
def redis() -> Generator[RedisEngine]:
    """A running Redis-compatible server, for this session: each test uses keys of its own."""
    yield from _running(new_test_redis)
