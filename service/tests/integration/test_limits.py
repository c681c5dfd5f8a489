"""A scope with a limit of its own has one budget, over HTTP and gRPC and over all replicas."""

import grpc
import pytest
from grpc import aio
from grpc_clients import GrpcService, bearer_metadata, running_grpc_service

from myservice.proto.v1 import records_pb2 as pb
from paceline.engines import RedisEngine
from paceline.http import TestClient, TestResponse

pytestmark = pytest.mark.integration

ADA = bearer_metadata("ada", "records:read", "records:write")
OWN = (("records:write", 1),)  # two at once


async def write_over_http(world: GrpcService) -> TestResponse:
    client = TestClient(world.process.app, headers=dict(ADA))
    return await client.post("/api/v1/records", {"name": "n"})


async def write_over_grpc(world: GrpcService) -> grpc.StatusCode:
    draft = pb.RecordDraft(name="n")
    try:
        await world.records.CreateRecord(pb.CreateRecordRequest(record=draft), metadata=ADA)
    except aio.AioRpcError as exc:
        return exc.code()
    return grpc.StatusCode.OK


async def test_both_doors_take_from_the_budget_of_a_scope(migrated: str) -> None:
    async with running_grpc_service(migrated, rate_limit=1000, rate_limits=OWN) as world:
        first = await write_over_http(world)
        assert (first.status, first.headers["ratelimit-limit"]) == (201, "2")
        assert await write_over_grpc(world) is grpc.StatusCode.OK
        assert await write_over_grpc(world) is grpc.StatusCode.RESOURCE_EXHAUSTED
        refused = await write_over_http(world)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        client = TestClient(world.process.app, headers=dict(ADA))
        read = await client.get("/api/v1/records")
        assert (read.status, read.headers["ratelimit-limit"]) == (200, "2000")


async def test_failed_authentication_has_one_budget_for_both_doors(migrated: str) -> None:
    async with running_grpc_service(migrated, auth_failure_limit=1) as world:
        address = "127.0.0.1"
        known = TestClient(world.process.app, address=address, headers=dict(ADA))
        assert (await known.get("/api/v1/records")).status == 200
        client = TestClient(
            world.process.app, address=address, headers={"authorization": "Bearer a.b.c"}
        )
        assert (await client.get("/api/v1/records")).status == 401
        assert await list_with_bad_token(world) is grpc.StatusCode.UNAUTHENTICATED
        assert await list_with_bad_token(world) is grpc.StatusCode.RESOURCE_EXHAUSTED
        refused = await client.get("/api/v1/records")
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["detail"].startswith("too many requests without a valid token")
        assert (await known.get("/api/v1/records")).status == 200
        await world.records.ListRecords(pb.ListRecordsRequest(), metadata=ADA)
        other = TestClient(world.process.app, address="192.0.2.7")
        assert (await other.get("/api/v1/records")).status == 401


async def list_with_bad_token(world: GrpcService) -> grpc.StatusCode:
    try:
        await world.records.ListRecords(
            pb.ListRecordsRequest(), metadata=[("authorization", "Bearer a.b.c")]
        )
    except aio.AioRpcError as exc:
        return exc.code()
    return grpc.StatusCode.OK


async def test_replicas_take_from_one_budget_of_a_scope(migrated: str, redis: RedisEngine) -> None:
    settings: dict[str, object] = {
        "redis_url": redis.url,
        "redis_timeout": 5.0,
        "rate_limit_shared": True,
        "rate_limit": 0,
        "rate_limits": OWN,
    }
    async with (
        running_grpc_service(migrated, **settings) as one,
        running_grpc_service(migrated, **settings) as two,
    ):
        assert (await write_over_http(one)).status == 201
        assert await write_over_grpc(two) is grpc.StatusCode.OK
        assert (await write_over_http(two)).status == 429
        assert await write_over_grpc(one) is grpc.StatusCode.RESOURCE_EXHAUSTED
