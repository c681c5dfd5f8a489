"""Records over gRPC: translate, call the service, translate back.

The methods and scopes of ``handler.http``, with the same services behind them. Versions travel in
the messages; a page ends early where its answer would be larger than clients accept. Errors leave
as they are, and ``paceline.grpc.status`` makes statuses of them. Wired in ``main``; accounts are in
``grpc_accounts``, values in ``grpc_values``.
"""

from collections.abc import AsyncGenerator
from itertools import accumulate
from typing import Final

from myservice.handler.grpc_values import (
    draft_of,
    expected_version,
    prefix_of,
    record_message,
    update_message,
    uuid_of,
)
from myservice.handler.records_http import READ, WRITE
from myservice.proto.v1 import records_pb2 as pb
from myservice.service.records import RecordService
from myservice.service.updates import RecordUpdates
from paceline.errors import ValidationError
from paceline.grpc import Call, RpcApp, ShuttingDown, stream, unary

SERVICE: Final = "myservice.v1.RecordService"
MAX_PAGE: Final = 100
_PAGE: Final = 20
# Bytes: clients refuse more than 4 MiB unless told otherwise.
_MAX_ANSWER: Final = 3 * 1024 * 1024
_AROUND_RECORD: Final = 8


class RecordRpc:
    """The record methods."""

    def __init__(self, service: RecordService, updates: RecordUpdates) -> None:
        self._service = service
        self._updates = updates

    def register(self, app: RpcApp) -> None:
        """Add the methods."""
        app.add(
            SERVICE,
            {
                "GetRecord": unary(self.get_record, scopes=[READ]),
                "ListRecords": unary(self.list_records, scopes=[READ]),
                "CreateRecord": unary(self.create_record, scopes=[WRITE]),
                "UpdateRecord": unary(self.update_record, scopes=[WRITE]),
                "DeleteRecord": unary(self.delete_record, scopes=[WRITE]),
                "StreamUpdates": stream(self.stream_updates, scopes=[READ]),
            },
        )

    async def get_record(self, request: pb.GetRecordRequest, call: Call) -> pb.GetRecordResponse:
        """Get one record."""
        del call
        record = await self._service.get_record(uuid_of(request.id, "id"))
        return pb.GetRecordResponse(record=record_message(record))

    async def list_records(
        self, request: pb.ListRecordsRequest, call: Call
    ) -> pb.ListRecordsResponse:
        """List records, page by page."""
        del call
        size = request.page_size or _PAGE
        if not 1 <= size <= MAX_PAGE:
            raise ValidationError("page_size", f"must be from 1 to {MAX_PAGE}, or 0")
        prefix, token = prefix_of(request.prefix, "prefix"), request.page_token or None
        try:
            page = await self._service.list_records(prefix, token, size)
            records = [record_message(record) for record in page.records]
            fit = how_many_fit([record.ByteSize() for record in records])
            if fit < len(records):  # again, for the cursor that belongs to so many
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
            uuid_of(request.id, "id"), draft_of(request), expected_version(request)
        )
        return pb.UpdateRecordResponse(record=record_message(record))

    async def delete_record(
        self, request: pb.DeleteRecordRequest, call: Call
    ) -> pb.DeleteRecordResponse:
        """Delete a record."""
        del call
        await self._service.delete_record(uuid_of(request.id, "id"), expected_version(request))
        return pb.DeleteRecordResponse()

    async def stream_updates(
        self, request: pb.StreamRequest, call: Call
    ) -> AsyncGenerator[pb.RecordUpdate, None]:
        """Every change, until the client leaves."""
        del call
        prefix = prefix_of(request.filter, "filter")
        async with self._updates.subscribe(prefix, request.after or None) as updates:
            async for update in updates:
                yield update_message(update)
        raise ShuttingDown


def how_many_fit(sizes: list[int]) -> int:
    """How many records of these encoded sizes an answer holds; one in any case."""
    sums = accumulate(size + _AROUND_RECORD for size in sizes)
    return max(1, sum(total <= _MAX_ANSWER for total in sums))
