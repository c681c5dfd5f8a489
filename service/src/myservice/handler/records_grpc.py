"""Records over gRPC, by the rules of HTTP.

Invariant: a draft passes the same types as over HTTP, so what one refuses the other refuses; a
wrong field is named as in the proto. Times are whole seconds, as the proto says. Versions are
fields of the messages. A page ends early when its answer would be larger than clients accept.
"""

from collections.abc import AsyncGenerator, Callable  # paceline: only full
from itertools import accumulate
from typing import Final

# paceline: fields rpc imports {
import msgspec

from myservice.domain.records import Metadata, Name, Record, RecordDraft

# paceline: }
from myservice.handler.records_http import Prefix  # paceline: only sample
from myservice.proto.v1 import records_pb2 as pb
from myservice.scopes import RECORDS_READ, RECORDS_WRITE
from myservice.service.records import RecordPage, RecordService
from paceline.errors import ValidationError
from paceline.grpc import (
    Call,
    RpcApp,
    convert_field,
    convert_text,
    convert_uuid,
    stream,  # paceline: only full
    unary,
    unix_seconds,
)
from paceline.idempotency import IdempotencyKeyText
from paceline.json_keys import RepeatedKeyError, check_distinct_keys  # paceline: only sample

SERVICE: Final = "myservice.v1.RecordService"
MAX_PAGE_SIZE: Final = 100
_DEFAULT_PAGE_SIZE: Final = 20
_MAX_ANSWER_BYTES: Final = 3 * 1024 * 1024  # clients refuse more than 4 MiB by default
_BYTES_AROUND_RECORD: Final = 8
# paceline: only full {
_StreamUpdates = Callable[[pb.StreamRequest, Call], AsyncGenerator[pb.RecordUpdate, None]]
# paceline: }


# paceline: fields rpc rules {
class DraftFields(msgspec.Struct, frozen=True):
    """The rules for the fields of a draft other than its data."""

    name: Name
    metadata: Metadata


# paceline: }
class RecordRpc:
    """The methods of the RecordService."""

    def __init__(
        self,
        service: RecordService,
        stream_updates: _StreamUpdates,  # paceline: only full
    ) -> None:
        self._service = service
        self._stream_updates = stream_updates  # paceline: only full

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
                # paceline: only full {
                "StreamUpdates": stream(self._stream_updates, scopes=[RECORDS_READ]),
                # paceline: }
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
        prefix = prefix_of(request.prefix, "prefix")  # paceline: only sample
        token = request.page_token or None

        async def page_of(limit: int) -> RecordPage:
            return await self._service.list_records(
                token,
                limit,
                prefix,  # paceline: only sample
            )

        try:
            page = await page_of(size)
            records = [record_message(record) for record in page.records]
            fit = how_many_fit([record.ByteSize() for record in records])
            if fit < len(records):  # again, for the cursor after that many
                page = await page_of(fit)
        except ValidationError as exc:
            raise ValidationError("page_token", exc.message) from exc
        return pb.ListRecordsResponse(
            records=records[: len(page.records)], next_page_token=page.next_cursor or ""
        )

    async def create_record(
        self, request: pb.CreateRecordRequest, call: Call
    ) -> pb.CreateRecordResponse:
        """Create a record."""
        text = request.idempotency_key
        key = convert_text(text, IdempotencyKeyText, "idempotency_key") if text else None
        record = await self._service.create_record(draft_of(request), call.caller.subject, key)
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


def how_many_fit(sizes: list[int]) -> int:
    """How many records of these encoded sizes an answer holds; one in any case."""
    sums = accumulate(size + _BYTES_AROUND_RECORD for size in sizes)
    return max(1, sum(total <= _MAX_ANSWER_BYTES for total in sums))


# paceline: only sample {
def prefix_of(text: str, field: str) -> str:
    """The prefix of names in a request. Errors: ValidationError."""
    return convert_text(text, Prefix, field) if text else ""


# paceline: }
def draft_of(request: pb.CreateRecordRequest | pb.UpdateRecordRequest) -> RecordDraft:
    """The draft in a request. Errors: ValidationError."""
    if not request.HasField("record"):
        raise ValidationError("record", "is needed")
    draft = request.record
    # paceline: fields received {
    values = {"name": draft.name, "metadata": dict(draft.metadata)}
    fields = convert_field(values, DraftFields, "record")
    return RecordDraft(fields.name, fields.metadata, _json_of(draft.data))


def _json_of(text: str) -> msgspec.Raw:
    try:
        value = msgspec.json.decode(text or "null", type=msgspec.Raw)
        check_distinct_keys(bytes(value))
    except RepeatedKeyError as exc:
        raise ValidationError("record.data", f"is not valid JSON: {exc}") from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValidationError("record.data", "is not JSON") from exc
    return value
    # paceline: }


def expected_version(request: pb.UpdateRecordRequest | pb.DeleteRecordRequest) -> set[int] | None:
    """The versions that may be changed; None for any."""
    return {request.expected_version} if request.HasField("expected_version") else None


def record_message(record: Record) -> pb.Record:
    """A record as a protobuf message."""
    return pb.Record(
        id=str(record.id),
        # paceline: fields sent {
        name=record.name,
        metadata=record.metadata,
        data=bytes(record.data).decode(),
        # paceline: }
        version=record.version,
        created_at=unix_seconds(record.created_at),
        updated_at=unix_seconds(record.updated_at),
    )
