"""The service when its database loses connections, and when it is overloaded."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from http_clients import client_for, running_app

from myservice.domain.records import Record
from myservice.repository.records import PgRecords
from paceline.errors import Overloaded
from paceline.http import TestClient
from paceline.postgres import Pool, PoolSettings, ReadPolicy, uuid7

pytestmark = pytest.mark.integration

PATIENCE = 30.0
LARGE = 1000  # a page that shares no statement
# Sessions of this database that wait for a lock.
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
_END_WAITING = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def records_locked(pool: Pool) -> AsyncGenerator[None]:
    """The table is locked while the block runs."""
    async with pool.transaction() as tx:
        await tx.execute("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
        yield


async def wait_for_locks(pool: Pool, count: int) -> None:
    """Wait until ``count`` sessions wait for a lock. Not in a transaction, which has one snapshot."""
    async with asyncio.timeout(PATIENCE):
        while await pool.fetchval(_WAITING) < count:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.005)


@asynccontextmanager
async def records_in(pool: Pool, reads: ReadPolicy) -> AsyncGenerator[tuple[PgRecords, Record]]:
    """The repository, and one record in it."""
    records = PgRecords(pool, reads)
    now = datetime.now(UTC)
    record = Record(uuid7(), "first", {}, msgspec.Raw(b"null"), 1, now, now)
    yield records, await records.insert(record)


async def test_reads_are_repeated_when_their_connection_is_lost(migrated: str, pool: Pool) -> None:
    reads = ReadPolicy()
    other = Pool(migrated, PoolSettings(min_size=1, max_size=2))
    await other.start()
    try:
        async with records_in(pool, reads) as (records, record):
            async with records_locked(other):
                gets = [asyncio.create_task(records.get(record.id)) for _ in range(10)]
                page = asyncio.create_task(records.list_after(None, 10))
                await wait_for_locks(other, 2)
                await other.execute(_END_WAITING)
            assert {each.id for each in await asyncio.gather(*gets)} == {record.id}
            assert [each.id for each in await page] == [record.id]
    finally:
        await other.stop()
    assert reads.retry.stats.retries == 2
    assert reads.retry.stats.denied == 0


async def test_pages_leave_connections_to_reads_by_key(migrated: str) -> None:
    pool, other = (
        Pool(migrated, PoolSettings(min_size=1, max_size=2)),
        Pool(migrated, PoolSettings(min_size=1, max_size=2)),
    )
    await pool.start()
    await other.start()
    reads = ReadPolicy(max_pages=1)
    try:
        async with records_in(pool, reads) as (records, _):
            async with records_locked(other):
                pages = [asyncio.create_task(records.list_after(None, LARGE)) for _ in range(5)]
                await wait_for_locks(other, 1)
                assert (reads.pages.stats.active, reads.pages.stats.waiting) == (1, 4)
                async with asyncio.timeout(PATIENCE):
                    assert await pool.fetchval("SELECT 1") == 1
            assert [len(page) for page in await asyncio.gather(*pages)] == [1] * 5
    finally:
        await pool.stop()
        await other.stop()


async def test_waiting_pages_are_bounded(pool: Pool) -> None:
    reads = ReadPolicy(max_pages=1)
    async with records_in(pool, reads) as (records, _):
        async with reads.pages:
            tasks = [asyncio.create_task(records.list_after(None, LARGE)) for _ in range(300)]
            await asyncio.sleep(0)
        found = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [each for each in found if isinstance(each, Overloaded)]
    assert len(refused) == reads.pages.stats.refused == 44
    assert sum(isinstance(each, list) for each in found) == 256


@asynccontextmanager
async def service(dsn: str, **settings: object) -> AsyncGenerator[TestClient]:
    async with running_app(dsn, **settings) as app:
        yield client_for(app, "s", "records:read", "records:write")


async def test_in_a_burst_health_answers_writes_go_first_and_nothing_accepted_is_lost(
    migrated: str, pool: Pool
) -> None:
    async with service(migrated, max_in_flight=20, shed_delay=0) as client:
        async with records_locked(pool):
            reads = [asyncio.create_task(client.get("/api/v1/records")) for _ in range(60)]
            await asyncio.sleep(0)
            writes = [
                asyncio.create_task(client.post("/api/v1/records", {"name": f"record {number}"}))
                for number in range(30)
            ]
            await asyncio.sleep(0)
            health = await client.get("/health")
        answers = await asyncio.gather(*reads), await asyncio.gather(*writes)
        assert health.status == 200
        read, written = [sorted(each.status for each in some) for some in answers]
        assert read == [200] * 18 + [503] * 42, "nine tenths are for reads"
        assert written == [201] * 2 + [503] * 28, "the last tenth is for writes only"
        for answer in (*answers[0], *answers[1]):
            assert (answer.status == 503) == ("retry-after" in answer.headers)
        stored = await client.get("/api/v1/records")
        accepted = {each.json()["name"] for each in answers[1] if each.status == 201}
        assert {each["name"] for each in stored.json()["records"]} == accepted
