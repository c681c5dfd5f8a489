"""The session's servers, as a conftest gets them."""

import pytest
from engine_clients import connect_nats, connect_redis

from paceline.engines import NatsEngine, RedisEngine

pytestmark = pytest.mark.integration


async def test_the_session_s_nats_keeps_streams(nats: NatsEngine) -> None:
    async with connect_nats(nats.url) as streams:
        await streams.create("SESSION", "session.>")
        await streams.publish("session.one", b"1")
        assert await streams.count("SESSION") == 1


async def test_the_session_s_redis_keeps_values(redis: RedisEngine) -> None:
    async with connect_redis(redis.url) as cache:
        await cache.set("session", "1")
        assert await cache.get("session") == b"1"
