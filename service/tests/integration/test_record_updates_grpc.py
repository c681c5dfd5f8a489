"""StreamUpdates on a real socket, with updates from the test: order, resuming, and every end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import grpc
import msgspec
import pytest
import records_pb2_grpc
from grpc import aio
from grpc_clients import bearer_metadata
from memory_record_updates import MemoryUpdates
from memory_records import MemoryRecords

from myservice.domain.record_updates import RecordUpdate
from myservice.domain.records import Record
from myservice.handler.record_updates_grpc import RecordUpdateRpc
from myservice.handler.records_grpc import RecordRpc
from myservice.proto.v1 import records_pb2 as pb
from myservice.service.records import RecordService
from paceline.auth import HmacSecrets, JwtVerifier
from paceline.clock import SystemClock
from paceline.grpc import RpcApp, RpcServer, interceptors
from paceline.postgres import uuid7
from paceline.testing import TEST_SECRET, RecordingLog

pytestmark = pytest.mark.integration

ID = UUID("0192f0a0-0000-7000-8000-000000000001")
AT = datetime(2026, 1, 2, tzinfo=UTC)
READER = bearer_metadata("ada", "records:read")
PATIENCE = 10.0


@dataclass
class World:
    updates: MemoryUpdates
    server: RpcServer
    channel: aio.Channel
    log: RecordingLog

    def follow(
        self, request: pb.StreamRequest, caller: tuple[tuple[str, str], ...] = READER
    ) -> "aio.UnaryStreamCall[pb.StreamRequest, pb.RecordUpdate]":
        return records_pb2_grpc.RecordServiceStub(self.channel).StreamUpdates(
            request, metadata=caller
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0.005)


@asynccontextmanager
async def started() -> AsyncGenerator[World]:
    clock, log, updates = SystemClock(), RecordingLog(), MemoryUpdates()
    app = RpcApp(
        interceptors.access_log(log),
        interceptors.recover(log),
        interceptors.deadline(0.2),
        interceptors.authenticate(JwtVerifier([HmacSecrets(TEST_SECRET.encode())], clock), clock),
    )
    records = RecordService(MemoryRecords(), clock, uuid7)
    RecordRpc(records, RecordUpdateRpc(updates).stream_updates).register(app)
    server = RpcServer(app, log, host="127.0.0.1", port=0)
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield World(updates, server, channel, log)
    finally:
        await server.stop()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started() as found:
        yield found


def update(version: int) -> RecordUpdate:
    record = Record(ID, "n", {}, msgspec.Raw(b"1"), version, AT, AT)
    return RecordUpdate(f"p{version}", "replaced", ID, version, record, AT)


async def end_of(call: "aio.UnaryStreamCall[pb.StreamRequest, pb.RecordUpdate]") -> grpc.StatusCode:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(aio.AioRpcError) as caught:
            await anext(aiter(call))
    return caught.value.code()


async def test_updates_come_in_order_and_say_where_to_resume(world: World) -> None:
    call = world.follow(pb.StreamRequest(filter="n", after="p1"))
    for version in (2, 3):
        world.updates.queue.put_nowait(update(version))
    world.updates.queue.put_nowait(RecordUpdate("p4", "deleted", ID, 4, None, AT))
    world.updates.queue.put_nowait(RecordUpdate("p5", "resync", None, None, None, AT))
    async with asyncio.timeout(PATIENCE):
        seen = [await anext(aiter(call)) for _ in range(4)]
    assert [one.position for one in seen] == ["p2", "p3", "p4", "p5"]
    kind = pb.RecordUpdate
    assert [one.kind for one in seen] == [kind.REPLACED, kind.REPLACED, kind.DELETED, kind.RESYNC]
    assert seen[1].record.version == 3
    assert world.updates.requests == [("n", "p1")]
    call.cancel()
    await world.until(lambda: world.updates.subscribers == 0)
    assert world.log.events("error") == []


async def test_a_stream_outlives_the_deadline_of_unary_calls(world: World) -> None:
    call = world.follow(pb.StreamRequest())
    await world.until(lambda: world.updates.subscribers == 1)
    await asyncio.sleep(0.3)
    world.updates.queue.put_nowait(update(1))
    assert (await anext(aiter(call))).version == 1
    assert world.updates.requests == [("", None)]
    call.cancel()


async def test_a_client_that_disconnects_is_unsubscribed(world: World) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{world.server.port}") as channel:
        stub = records_pb2_grpc.RecordServiceStub(channel)
        call = stub.StreamUpdates(pb.StreamRequest(), metadata=READER)
        await world.until(lambda: world.updates.subscribers == 1)
        assert not call.done()
    await world.until(lambda: world.updates.subscribers == 0)


async def test_a_stream_ends_when_its_token_expires(world: World) -> None:
    call = world.follow(pb.StreamRequest(), bearer_metadata("ada", "records:read", expiry=2))
    world.updates.queue.put_nowait(update(1))
    assert (await anext(aiter(call))).version == 1
    assert await end_of(call) is grpc.StatusCode.UNAUTHENTICATED
    await world.until(lambda: world.updates.subscribers == 0)


async def test_a_stream_ends_with_the_feed_as_with_the_server(world: World) -> None:
    call = world.follow(pb.StreamRequest())
    world.updates.queue.put_nowait(None)
    assert await end_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_ends_when_the_server_stops(world: World) -> None:
    call = world.follow(pb.StreamRequest())
    await world.until(lambda: world.updates.subscribers == 1)
    async with asyncio.timeout(PATIENCE):
        await world.server.stop()
    assert await end_of(call) is grpc.StatusCode.UNAVAILABLE
    assert world.updates.subscribers == 0
    assert world.log.events("error") == []


async def test_a_stream_needs_its_scope(world: World) -> None:
    call = world.follow(pb.StreamRequest(), bearer_metadata("ada", "records:write"))
    assert await end_of(call) is grpc.StatusCode.PERMISSION_DENIED
    assert world.updates.requests == []
