"""A fixture with a cache of records in a real server."""

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest

from myservice.domain.records import Record, RecordNotFound
from paceline.clock import SystemClock
from paceline.engines import RedisEngine
from paceline.redis import CacheAside, CacheSettings, Redis, RedisStore
from paceline.testing import RecordingLog


@pytest.fixture
async def cache(redis: RedisEngine) -> AsyncGenerator[CacheAside[Record]]:
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
