"""The service with its cache and its shared limit on: as correct as without them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest
from http_clients import client_for, running_app

from myservice.domain.records import Record, RecordDraft, RecordNotFound
from myservice.repository.cached_records import CachedRecords
from myservice.repository.records import PgRecords
from paceline.engines import RedisEngine
from paceline.http import TestClient
from paceline.postgres import Pool, uuid7
from paceline.redis import CacheAside
from paceline.testing import frozen

pytestmark = pytest.mark.integration

CALLER = f"caller-{uuid7()}"
"""With a budget of its own in a server that the session shares."""


@asynccontextmanager
async def replica(dsn: str, redis_url: str, **settings: object) -> AsyncGenerator[TestClient]:
    async with running_app(dsn, redis_url=redis_url, redis_timeout=0.2, **settings) as app:
        yield client_for(app, CALLER, "records:read", "records:write")


async def test_two_replicas_with_a_cache_agree_after_every_change(
    migrated: str, redis: RedisEngine
) -> None:
    async with (
        replica(migrated, redis.url, cache=True) as one,
        replica(migrated, redis.url, cache=True) as two,
    ):
        made = await one.post("/api/v1/records", {"name": "first", "data": {"n": 1}})
        target = f"/api/v1/records/{made.json()['id']}"
        for number in range(20):
            answers = [await client.get(target) for client in (one, two, one, two)]
            assert [answer.json()["version"] for answer in answers] == [number + 1] * 4
            put = await (one, two)[number % 2].request("PUT", target, json={"name": f"{number}"})
            assert put.status == 200
        with frozen(redis):
            assert (await one.request("PUT", target, json={"name": "frozen"})).status == 200
            assert (await one.get(target)).json()["name"] == "frozen"
        assert (await two.request("DELETE", target)).status == 204
        assert [(await client.get(target)).status for client in (one, two)] == [404, 404]


async def test_replicas_share_a_limit_and_without_redis_each_has_its_own(
    migrated: str, redis: RedisEngine
) -> None:
    settings = {"rate_limit": 1, "rate_limit_shared": True}
    async with (
        replica(migrated, redis.url, **settings) as one,
        replica(migrated, redis.url, **settings) as two,
    ):
        target = f"/api/v1/records/{uuid7()}"
        statuses = [(await client.get(target)).status for client in (one, two, one, two)]
        assert statuses[:3] == [404, 404, 429]
    async with replica(migrated, "unix:///nonexistent", **settings) as alone:
        statuses = [(await alone.get(target)).status for _ in range(3)]
        assert statuses == [404, 404, 429]


async def test_a_record_is_read_once_and_its_insertion_invalidates_a_cached_absence(
    pool: Pool, cache: CacheAside[Record]
) -> None:
    reads: list[UUID] = []

    class Counting(PgRecords):
        async def get(self, record_id: UUID) -> Record:
            reads.append(record_id)
            return await super().get(record_id)

    records = CachedRecords(Counting(pool), cache)
    now = datetime.now(UTC)
    record = Record(uuid7(), "a", {}, RecordDraft("a").data, 1, now, now)
    for _ in range(3):
        with pytest.raises(RecordNotFound):
            await records.get(record.id)
    assert len(reads) == 1
    await records.insert(record)
    found = await asyncio.gather(*(records.get(record.id) for _ in range(20)))
    assert found == [record] * 20
    before = 0
    async with asyncio.timeout(10):
        while len(reads) != before:  # what was found may still be on its way into the cache
            before = len(reads)
            assert await records.get(record.id) == record
    assert len(reads) <= 3
