"""Records over gRPC through the whole service: answers and refusals."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import records_pb2_grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc import aio
from grpc_clients import GrpcService, bearer_metadata, error_details, running_grpc_service
from record_samples import DRAFT, MISSING, OTHER

from myservice.domain.records import RecordDraft
from myservice.handler.records_grpc import draft_of
from myservice.proto.v1 import records_pb2 as pb

# paceline: fields test imports {
from paceline.http import TestClient

# paceline: }

pytestmark = pytest.mark.integration

ADA = bearer_metadata("ada", "records:read", "records:write")
READER = bearer_metadata("eve", "records:read")
STALE = grpc.StatusCode.ABORTED
INVALID, MISSED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


def sent(draft: RecordDraft) -> pb.RecordDraft:
    """The draft as a message."""
    # paceline: fields message sample {
    data = bytes(draft.data).decode()
    return pb.RecordDraft(name=draft.name, metadata=draft.metadata, data=data)
    # paceline: }


@pytest.fixture
async def world(migrated: str) -> AsyncGenerator[GrpcService]:
    async with running_grpc_service(migrated) as found:
        yield found


@pytest.fixture
def stub(world: GrpcService) -> "records_pb2_grpc.RecordServiceAsyncStub":
    return records_pb2_grpc.RecordServiceStub(world.channel)


async def created(
    stub: "records_pb2_grpc.RecordServiceAsyncStub", draft: RecordDraft = DRAFT
) -> pb.Record:
    request = pb.CreateRecordRequest(record=sent(draft))
    answer = await stub.CreateRecord(request, metadata=ADA)
    return answer.record


async def test_a_record_is_created_once_for_each_idempotency_key(
    stub: "records_pb2_grpc.RecordServiceAsyncStub",
) -> None:
    request = pb.CreateRecordRequest(record=sent(DRAFT), idempotency_key="k1")
    first = await stub.CreateRecord(request, metadata=ADA)
    assert await stub.CreateRecord(request, metadata=ADA) == first
    for wrong in (
        pb.CreateRecordRequest(record=sent(OTHER), idempotency_key="k1"),
        pb.CreateRecordRequest(record=sent(DRAFT), idempotency_key="a b"),
    ):
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.CreateRecord(wrong, metadata=ADA)
        assert caught.value.code() is INVALID
    listed = await stub.ListRecords(pb.ListRecordsRequest(), metadata=ADA)
    assert [each.id for each in listed.records] == [first.record.id]


@pytest.mark.parametrize("draft", [DRAFT, OTHER], ids=["draft", "other"])
def test_a_draft_arrives_as_it_was_sent(draft: RecordDraft) -> None:
    raw = pb.CreateRecordRequest(record=sent(draft)).SerializeToString()
    assert draft_of(pb.CreateRecordRequest.FromString(raw)) == draft


async def test_a_record_is_created_read_replaced_and_deleted(
    stub: "records_pb2_grpc.RecordServiceAsyncStub",
) -> None:
    record = await created(stub)
    assert record.version == 1
    assert record.created_at == record.updated_at > 1_700_000_000
    read = await stub.GetRecord(pb.GetRecordRequest(id=record.id), metadata=ADA)
    assert read.record == record
    replaced = await stub.UpdateRecord(
        pb.UpdateRecordRequest(id=record.id, record=sent(OTHER), expected_version=1),
        metadata=ADA,
    )
    assert replaced.record.version == 2
    assert replaced.record != record
    with pytest.raises(aio.AioRpcError) as caught:
        await stub.DeleteRecord(
            pb.DeleteRecordRequest(id=record.id, expected_version=1), metadata=ADA
        )
    assert caught.value.code() is STALE
    await stub.DeleteRecord(pb.DeleteRecordRequest(id=record.id, expected_version=2), metadata=ADA)
    with pytest.raises(aio.AioRpcError) as caught:
        await stub.GetRecord(pb.GetRecordRequest(id=record.id), metadata=ADA)
    assert caught.value.code() is MISSED
    assert error_details(caught.value) == [ErrorInfo(reason="RECORD_NOT_FOUND", domain="myservice")]


async def test_a_listing_is_read_page_by_page(
    stub: "records_pb2_grpc.RecordServiceAsyncStub",
) -> None:
    made = [(await created(stub)).id for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = await stub.ListRecords(
            pb.ListRecordsRequest(page_size=2, page_token=token), metadata=READER
        )
        seen += [record.id for record in page.records]
        token = page.next_page_token
        if not token:
            break
    assert seen == made


@dataclass(frozen=True)
class Refused:
    id: str
    method: str
    request: Message
    code: grpc.StatusCode
    reason: str = "VALIDATION"
    field: str = ""
    caller: tuple[tuple[str, str], ...] = ADA


REFUSED = [
    Refused("a bad id", "GetRecord", pb.GetRecordRequest(id="x"), INVALID, field="id"),
    Refused("no id", "DeleteRecord", pb.DeleteRecordRequest(), INVALID, field="id"),
    Refused("no draft", "CreateRecord", pb.CreateRecordRequest(), INVALID, field="record"),
    Refused("a page too large", "ListRecords", pb.ListRecordsRequest(page_size=101), INVALID, field="page_size"),
    Refused("a negative page", "ListRecords", pb.ListRecordsRequest(page_size=-1), INVALID, field="page_size"),
    Refused("a made-up token", "ListRecords", pb.ListRecordsRequest(page_token="x"), INVALID, field="page_token"),
    Refused("missing", "GetRecord", pb.GetRecordRequest(id=str(MISSING)), MISSED, "RECORD_NOT_FOUND"),
    Refused("nothing to replace", "UpdateRecord", pb.UpdateRecordRequest(id=str(MISSING), record=sent(DRAFT)), MISSED, "RECORD_NOT_FOUND"),
    Refused("nothing to delete", "DeleteRecord", pb.DeleteRecordRequest(id=str(MISSING)), MISSED, "RECORD_NOT_FOUND"),
    Refused("no token", "GetRecord", pb.GetRecordRequest(id=str(MISSING)), grpc.StatusCode.UNAUTHENTICATED, "", caller=()),
    Refused("no scope", "CreateRecord", pb.CreateRecordRequest(record=sent(DRAFT)), grpc.StatusCode.PERMISSION_DENIED, "", caller=READER),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_what_is_wrong_is_refused_with_its_details(
    case: Refused, world: GrpcService, stub: "records_pb2_grpc.RecordServiceAsyncStub"
) -> None:
    method: Callable[..., Any] = getattr(stub, case.method)
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


async def test_what_is_written_over_grpc_is_read_over_http_with_the_same_version(
    world: GrpcService, stub: "records_pb2_grpc.RecordServiceAsyncStub"
) -> None:
    record = await created(stub)
    http = TestClient(world.process.app, headers=dict(READER))
    answer = await http.get(f"/api/v1/records/{record.id}")
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
