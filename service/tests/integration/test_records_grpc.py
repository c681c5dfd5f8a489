"""Records over gRPC through the whole service: answers, refusals, cancellation."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc import aio
from grpc_clients import GrpcService, bearer_metadata, error_details, running_grpc_service

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


async def test_a_record_is_created_read_replaced_and_deleted(world: GrpcService) -> None:
    record = await created(world)
    assert (record.name, dict(record.metadata), record.version) == ("n", {"colour": "blue"}, 1)
    assert record.created_at == record.updated_at > 1_700_000_000
    read = await world.records.GetRecord(pb.GetRecordRequest(id=record.id), metadata=ADA)
    assert read.record == record
    replaced = await world.records.UpdateRecord(
        pb.UpdateRecordRequest(id=record.id, record=pb.RecordDraft(name="m"), expected_version=1),
        metadata=ADA,
    )
    assert (replaced.record.name, replaced.record.version, replaced.record.data) == ("m", 2, "null")
    await world.records.DeleteRecord(
        pb.DeleteRecordRequest(id=record.id, expected_version=2), metadata=ADA
    )
    with pytest.raises(aio.AioRpcError) as caught:
        await world.records.GetRecord(pb.GetRecordRequest(id=record.id), metadata=ADA)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert error_details(caught.value) == [ErrorInfo(reason="RECORD_NOT_FOUND", domain="myservice")]


async def test_a_listing_is_read_page_by_page(world: GrpcService) -> None:
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
    first = await world.records.ListRecords(pb.ListRecordsRequest(page_size=100), metadata=READER)
    assert 0 < len(first.records) < 60
    second = await world.records.ListRecords(
        pb.ListRecordsRequest(page_size=100, page_token=first.next_page_token), metadata=READER
    )
    assert [record.id for record in (*first.records, *second.records)] == made


@dataclass(frozen=True)
class Refused:
    id: str
    method: str
    request: Message
    code: grpc.StatusCode
    reason: str = "VALIDATION"
    field: str = ""
    caller: tuple[tuple[str, str], ...] = ADA


INVALID, MISSED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
DRAFT = pb.RecordDraft(name="n")
REFUSED = [
    Refused("a bad id", "GetRecord", pb.GetRecordRequest(id="x"), INVALID, field="id"),
    Refused("no id", "DeleteRecord", pb.DeleteRecordRequest(), INVALID, field="id"),
    Refused("no draft", "CreateRecord", pb.CreateRecordRequest(), INVALID, field="record"),
    Refused("no name", "CreateRecord", pb.CreateRecordRequest(record=pb.RecordDraft()), INVALID, field="record.name"),
    Refused("a page too large", "ListRecords", pb.ListRecordsRequest(page_size=101), INVALID, field="page_size"),
    Refused("a negative page", "ListRecords", pb.ListRecordsRequest(page_size=-1), INVALID, field="page_size"),
    Refused("a made-up token", "ListRecords", pb.ListRecordsRequest(page_token="x"), INVALID, field="page_token"),
    Refused("missing", "GetRecord", pb.GetRecordRequest(id=MISSING), MISSED, "RECORD_NOT_FOUND"),
    Refused("nothing to replace", "UpdateRecord", pb.UpdateRecordRequest(id=MISSING, record=DRAFT), MISSED, "RECORD_NOT_FOUND"),
    Refused("nothing to delete", "DeleteRecord", pb.DeleteRecordRequest(id=MISSING), MISSED, "RECORD_NOT_FOUND"),
    Refused("no token", "GetRecord", pb.GetRecordRequest(id=MISSING), grpc.StatusCode.UNAUTHENTICATED, "", caller=()),
    Refused("a bad token", "GetRecord", pb.GetRecordRequest(id=MISSING), grpc.StatusCode.UNAUTHENTICATED, "", caller=(("authorization", "Bearer x"),)),
    Refused("no scope", "CreateRecord", pb.CreateRecordRequest(record=DRAFT), grpc.StatusCode.PERMISSION_DENIED, "", caller=READER),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_what_is_wrong_is_refused_with_its_details(case: Refused, world: GrpcService) -> None:
    method: Callable[..., Any] = getattr(world.records, case.method)
    with pytest.raises(aio.AioRpcError) as caught:
        await method(case.request, metadata=case.caller)
    assert caught.value.code() is case.code
    details = error_details(caught.value)
    reasons = [detail.reason for detail in details if isinstance(detail, ErrorInfo)]
    fields = [
        violation.field
        for detail in details
        if isinstance(detail, BadRequest)
        for violation in detail.field_violations
    ]
    assert reasons == ([case.reason] if case.reason else [])
    assert fields == ([case.field] if case.field else [])
    assert world.log.events("error") == []


async def test_another_version_than_expected_is_aborted(world: GrpcService) -> None:
    record = await created(world)
    with pytest.raises(aio.AioRpcError) as caught:
        await world.records.DeleteRecord(
            pb.DeleteRecordRequest(id=record.id, expected_version=9), metadata=ADA
        )
    assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_what_is_written_over_grpc_is_read_over_http_with_the_same_version(
    world: GrpcService,
) -> None:
    record = await created(world)
    http = TestClient(world.process.app, headers=dict(READER))
    answer = await http.get(f"/api/v1/records/{record.id}")
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
    assert answer.json()["data"] == {"a": 1}


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
