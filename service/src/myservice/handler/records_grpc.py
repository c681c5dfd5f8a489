"""Records and their updates over gRPC, by the rules of HTTP.

Invariant: a draft passes the same types as over HTTP, so what one refuses the other refuses; a
wrong field is named as in the proto. Times are whole seconds, as the proto says; only an update's
is exact. Versions are fields of the messages. A page ends early when its answer would be larger
than clients accept.
"""

from collections.abc import AsyncGenerator, Mapping
from itertools import accumulate
from typing import Final

import msgspec

from myservice.domain.record_updates import RecordUpdate
from myservice.domain.records import Metadata, Name, Record, RecordDraft
from myservice.handler.records_http import Prefix
from myservice.proto.v1 import records_pb2 as pb
from myservice.scopes import RECORDS_READ, RECORDS_WRITE
from myservice.service.record_updates import RecordUpdates
from myservice.service.records import RecordService
from paceline.errors import ValidationError
from paceline.grpc import (
    Call,
    RpcApp,
    ShuttingDown,
    convert_field,
    convert_text,
    convert_uuid,
    stream,
    unary,
    unix_seconds,
)

SERVICE: Final = "myservice.v1.RecordService"
KINDS: Final[Mapping[str, pb.RecordUpdate.Kind.ValueType]] = {
    "created": pb.RecordUpdate.CREATED,
    "replaced": pb.RecordUpdate.REPLACED,
    "deleted": pb.RecordUpdate.DELETED,
    "resync": pb.RecordUpdate.RESYNC,
}
MAX_PAGE_SIZE: Final = 100
_DEFAULT_PAGE_SIZE: Final = 20
_MAX_ANSWER_BYTES: Final = 3 * 1024 * 1024  # clients refuse more than 4 MiB by default
_BYTES_AROUND_RECORD: Final = 8


class DraftFields(msgspec.Struct, frozen=True):
    """The rules for the fields of a draft other than its data."""

    name: Name
    metadata: Metadata


class RecordRpc:
    """The methods of the RecordService."""

    def __init__(self, service: RecordService, updates: RecordUpdates) -> None:
        self._service = service
        self._updates = updates

    def register(self, app: RpcApp) -> None:
        """Add the methods."""
        app.add(
            SERVICE,
            {
                "GetRecord": unary(self.get_record, scopes=[RECORDS_READ]),
                "ListRecords": unary(self.list_records, scopes=[RECORDS_READ]),
                "CreateRecord": unary(self.create_record, scopes=[RECORDS_WRITE]),
                "UpdateRecord": unary(self.update_record, scopes=[RECORDS_WRITE]),
                "DeleteRecord": unary(self.delete_record, scopes=[RECORDS_WRITE]),
                "StreamUpdates": stream(self.stream_updates, scopes=[RECORDS_READ]),
            },
        )

    async def get_record(self, request: pb.GetRecordRequest, call: Call) -> pb.GetRecordResponse:
        """Get one record."""
        del call
        record = await self._service.get_record(convert_uuid(request.id, "id"))
        return pb.GetRecordResponse(record=record_message(record))

    async def list_records(
        self, request: pb.ListRecordsRequest, call: Call
    ) -> pb.ListRecordsResponse:
        """List records, page by page."""
        del call
        size = request.page_size or _DEFAULT_PAGE_SIZE
        if not 1 <= size <= MAX_PAGE_SIZE:
            raise ValidationError("page_size", f"must be from 1 to {MAX_PAGE_SIZE}, or 0")
        prefix, token = prefix_of(request.prefix, "prefix"), request.page_token or None
        try:
            page = await self._service.list_records(prefix, token, size)
            records = [record_message(record) for record in page.records]
            fit = how_many_fit([record.ByteSize() for record in records])
            if fit < len(records):  # again, for the cursor after that many
                page = await self._service.list_records(prefix, token, fit)
        except ValidationError as exc:
            raise ValidationError("page_token", exc.message) from exc
        return pb.ListRecordsResponse(
            records=records[: len(page.records)], next_page_token=page.next_cursor or ""
        )

    async def create_record(
        self, request: pb.CreateRecordRequest, call: Call
    ) -> pb.CreateRecordResponse:
        """Create a record."""
        del call
        record = await self._service.create_record(draft_of(request))
        return pb.CreateRecordResponse(record=record_message(record))

    async def update_record(
        self, request: pb.UpdateRecordRequest, call: Call
    ) -> pb.UpdateRecordResponse:
        """Replace a record."""
        del call
        record = await self._service.replace_record(
            convert_uuid(request.id, "id"), draft_of(request), expected_version(request)
        )
        return pb.UpdateRecordResponse(record=record_message(record))

    async def delete_record(
        self, request: pb.DeleteRecordRequest, call: Call
    ) -> pb.DeleteRecordResponse:
        """Delete a record."""
        del call
        await self._service.delete_record(convert_uuid(request.id, "id"), expected_version(request))
        return pb.DeleteRecordResponse()

    async def stream_updates(
        self, request: pb.StreamRequest, call: Call
    ) -> AsyncGenerator[pb.RecordUpdate, None]:
        """Stream every change until the client disconnects."""
        del call
        prefix = prefix_of(request.filter, "filter")
        async with self._updates.subscribe(prefix, request.after or None) as updates:
            async for update in updates:
                yield update_message(update)
        raise ShuttingDown


def how_many_fit(sizes: list[int]) -> int:
    """How many records of these encoded sizes an answer holds; one in any case."""
    sums = accumulate(size + _BYTES_AROUND_RECORD for size in sizes)
    return max(1, sum(total <= _MAX_ANSWER_BYTES for total in sums))


def prefix_of(text: str, field: str) -> str:
    """The prefix of names in a request. Errors: ValidationError."""
    return convert_text(text, Prefix, field) if text else ""


def draft_of(request: pb.CreateRecordRequest | pb.UpdateRecordRequest) -> RecordDraft:
    """The draft in a request. Errors: ValidationError."""
    if not request.HasField("record"):
        raise ValidationError("record", "is needed")
    draft = request.record
    values = {"name": draft.name, "metadata": dict(draft.metadata)}
    fields = convert_field(values, DraftFields, "record")
    return RecordDraft(fields.name, fields.metadata, _json_of(draft.data))


def _json_of(text: str) -> msgspec.Raw:
    try:
        return msgspec.json.decode(text or "null", type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValidationError("record.data", "is not JSON") from exc


def expected_version(request: pb.UpdateRecordRequest | pb.DeleteRecordRequest) -> set[int] | None:
    """The versions that may be changed; None for any."""
    return {request.expected_version} if request.HasField("expected_version") else None


def record_message(record: Record) -> pb.Record:
    """A record as a protobuf message."""
    return pb.Record(
        id=str(record.id), name=record.name, metadata=record.metadata,
        created_at=unix_seconds(record.created_at), data=bytes(record.data).decode(),
        version=record.version, updated_at=unix_seconds(record.updated_at),
    )  # fmt: skip


def update_message(update: RecordUpdate) -> pb.RecordUpdate:
    """An update as a protobuf message."""
    message = pb.RecordUpdate(
        kind=KINDS[update.kind], position=update.position,
        id="" if update.id is None else str(update.id), version=update.version or 0,
        record=None if update.record is None else record_message(update.record),
    )  # fmt: skip
    message.at.FromDatetime(update.at)
    return message
