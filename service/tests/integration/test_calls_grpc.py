"""What calls meet: filters, large pages, tokens, limits, cancellation, on the whole service."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import grpc
import pytest
from grpc import aio
from grpc_clients import GrpcService, bearer_metadata, running_grpc_service

from myservice.proto.v1 import records_pb2 as pb
from paceline.http import TestClient

pytestmark = pytest.mark.integration

ADA = bearer_metadata("ada", "records:read", "records:write")
READER = bearer_metadata("eve", "records:read")
MISSING = "0192f0a0-0000-7000-8000-00000000dead"
PATIENCE = 10.0


@pytest.fixture
async def world(migrated: str) -> AsyncGenerator[GrpcService]:
    async with running_grpc_service(migrated) as found:
        yield found


async def created(world: GrpcService, name: str = "n", data: str = '{"a": 1}') -> pb.Record:
    draft = pb.RecordDraft(name=name, metadata={"colour": "blue"}, data=data)
    answer = await world.records.CreateRecord(pb.CreateRecordRequest(record=draft), metadata=ADA)
    return answer.record


async def test_a_listing_can_be_filtered_by_the_beginning_of_names(world: GrpcService) -> None:
    made = [(await created(world, f"x{n}")).id for n in range(5)]
    await created(world, "other")
    seen: list[str] = []
    token = ""
    while True:
        page = await world.records.ListRecords(
            pb.ListRecordsRequest(prefix="x", page_size=2, page_token=token), metadata=READER
        )
        seen += [record.id for record in page.records]
        token = page.next_page_token
        if not token:
            break
    assert seen == made


async def test_a_page_of_large_records_ends_early_and_loses_nothing(world: GrpcService) -> None:
    data = '"' + "x" * 64_000 + '"'
    made = [(await created(world, f"big{n}", data)).id for n in range(60)]
    seen: list[str] = []
    token = ""
    while len(seen) < len(made):
        page = await world.records.ListRecords(
            pb.ListRecordsRequest(page_size=100, page_token=token), metadata=READER
        )
        assert 0 < len(page.records) < 60
        seen += [record.id for record in page.records]
        token = page.next_page_token
    assert (seen, token) == (made, "")


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        ((("authorization", "Bearer x"),), grpc.StatusCode.UNAUTHENTICATED),
        (READER, grpc.StatusCode.PERMISSION_DENIED),
    ],
    ids=["a bad token", "no scope"],
)
async def test_a_call_without_what_it_needs_is_refused(
    world: GrpcService, caller: tuple[tuple[str, str], ...], code: grpc.StatusCode
) -> None:
    request = pb.CreateRecordRequest(record=pb.RecordDraft(name="n"))
    with pytest.raises(aio.AioRpcError) as caught:
        await world.records.CreateRecord(request, metadata=caller)
    assert caught.value.code() is code
    assert world.log.events("error") == []


async def test_http_and_grpc_share_one_rate_limit(migrated: str) -> None:
    async with running_grpc_service(migrated, rate_limit=1) as world:
        http = TestClient(world.process.app, headers=dict(READER))
        assert (await http.get(f"/api/v1/records/{MISSING}")).status == 404
        codes: list[grpc.StatusCode] = []
        for _ in range(2):
            with pytest.raises(aio.AioRpcError) as caught:
                await world.records.GetRecord(pb.GetRecordRequest(id=MISSING), metadata=READER)
            codes.append(caught.value.code())
        assert codes == [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED]


async def waiting(observer: "asyncpg.Connection[Any]") -> int:
    found: int = await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    return found


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_a_call_that_ends_early_cancels_its_statement(
    how: str, world: GrpcService, migrated: str
) -> None:
    record = await created(world)
    holder: asyncpg.Connection[Any] = await asyncpg.connect(migrated)
    observer: asyncpg.Connection[Any] = await asyncpg.connect(migrated)
    try:
        async with asyncio.timeout(PATIENCE), holder.transaction():
            await holder.execute("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
            call = world.records.GetRecord(
                pb.GetRecordRequest(id=record.id), metadata=ADA,
                timeout=0.5 if how == "deadline" else None,
            )  # fmt: skip
            while not await waiting(observer):  # noqa: ASYNC110 - the server's
                await asyncio.sleep(0.01)
            if how == "cancel":
                call.cancel()
            else:
                with pytest.raises(aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            while await waiting(observer):  # noqa: ASYNC110 - the server's
                await asyncio.sleep(0.01)
        read = await world.records.GetRecord(pb.GetRecordRequest(id=record.id), metadata=ADA)
        assert read.record == record
    finally:
        await observer.close()
        await holder.close()


async def nothing() -> AsyncGenerator[bytes]:
    yield b""


async def test_reflection_is_off_unless_a_setting_turns_it_on(migrated: str) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    async with running_grpc_service(migrated) as world:
        call: aio.StreamStreamMultiCallable[bytes, bytes] = world.channel.stream_stream(path)
        with pytest.raises(aio.AioRpcError) as caught:
            await anext(aiter(call(nothing())))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
