"""Waits of a request other than for a silent database: its deadline ends them, too.

A lock, a bulkhead, the cache, the shared limit; and a client that disconnects cancels its statement.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc import aio
from grpc_clients import bearer_metadata, running_grpc_service
from wired_service import config_on, http_server_of, wire_service

from myservice.proto.v1 import records_pb2 as pb
from myservice.scopes import SCOPES
from paceline.commands import Process
from paceline.engines import RedisEngine
from paceline.http import TestClient
from paceline.postgres import connect
from paceline.testing import RecordingLog, frozen, make_token, monitor_sessions

pytestmark = pytest.mark.integration

TOKEN = make_token("ada", *SCOPES)
GRPC_TOKEN = bearer_metadata("ada", *SCOPES)
HURRY = {"request-timeout": "0.15"}
CLIENTS = "exceeded the 0.15s set by the client (Request-Timeout)"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@asynccontextmanager
async def service(
    dsn: str, *, listens: bool = False, **settings: object
) -> AsyncGenerator[tuple[TestClient, Process]]:
    config = config_on(dsn, **{"rate_limit": 0, **settings})
    process = wire_service(config, RecordingLog(), listens=listens)
    async with process.lifecycle:
        yield TestClient(process.app, headers={"authorization": f"Bearer {TOKEN}"}), process


@asynccontextmanager
async def locked(dsn: str) -> AsyncGenerator[None]:
    """The table of records is locked during the block."""
    connection = await connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def record_of(client: TestClient) -> str:
    made = await client.post("/api/v1/records", {"name": "one"})
    return f"/api/v1/records/{made.json()['id']}"


async def test_a_statement_that_waits_for_a_lock_is_cancelled_in_the_server(migrated: str) -> None:
    async with service(migrated) as (client, _), monitor_sessions(migrated) as monitor:
        path = await record_of(client)
        async with locked(migrated):
            for method, json in (("GET", None), ("PUT", {"name": "two"})):
                answer = await client.request(method, path, json=json, headers=HURRY)
                assert answer.status == 504
                assert CLIENTS in answer.json()["detail"]
                await monitor.wait_until(lambda: monitor.value(WAITING), 0)
        assert (await client.get(path)).json()["name"] == "one"


async def test_a_statement_ends_with_the_deadline_of_a_grpc_client(migrated: str) -> None:
    async with (
        running_grpc_service(migrated) as world,
        monitor_sessions(migrated) as monitor,
        locked(migrated),
    ):
        request = pb.ListRecordsRequest()
        with pytest.raises(aio.AioRpcError) as caught:
            await world.records.ListRecords(request, metadata=GRPC_TOKEN, timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await monitor.wait_until(lambda: monitor.value(WAITING), 0)


async def test_a_request_that_waits_to_read_a_page_ends_with_its_deadline(
    migrated: str,
) -> None:
    async with (
        service(migrated, max_db_conns=1) as (client, _),
        monitor_sessions(migrated) as monitor,
        locked(migrated),
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(client.get("/api/v1/records", headers={"request-timeout": "3"}))
        await monitor.wait_until(lambda: monitor.value(WAITING), 1)
        second = await client.get("/api/v1/records", headers=HURRY)
        assert second.status == 504
        assert second.json()["detail"] == f"reading pages of records {CLIENTS}"
        first.cancel()


async def test_a_frozen_cache_does_not_delay_a_request_beyond_its_deadline(
    migrated: str, redis: RedisEngine
) -> None:
    async with service(migrated, redis_url=redis.url, cache=True, redis_timeout=5.0) as (client, _):
        path = await record_of(client)
        with frozen(redis):
            answer = await client.get(path, headers=HURRY)
        assert (answer.status, answer.json()["detail"]) == (
            504,
            f"reading cached records {CLIENTS}",
        )


async def test_a_frozen_limiter_does_not_delay_a_request_beyond_its_deadline(
    migrated: str, redis: RedisEngine
) -> None:
    async with service(
        migrated, redis_url=redis.url, rate_limit=100, rate_limit_shared=True, redis_timeout=5.0
    ) as (client, _):
        with frozen(redis):
            answer = await client.get("/api/v1/records", headers=HURRY)
        assert answer.status == 504
        assert f"asking the shared limit {CLIENTS}" in answer.json()["detail"]


async def test_a_disconnected_clients_statement_is_cancelled_in_the_server(migrated: str) -> None:
    async with (
        service(migrated, listens=True) as (client, process),
        monitor_sessions(migrated) as monitor,
    ):
        path = await record_of(client)
        async with locked(migrated):
            port = http_server_of(process).port
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            writer.write(head.encode())
            await monitor.wait_until(lambda: monitor.value(WAITING), 1)
            writer.close()
            await monitor.wait_until(lambda: monitor.value(WAITING), 0)
