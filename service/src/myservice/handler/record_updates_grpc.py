"""The stream of record updates over gRPC: each committed change, until the client leaves."""

from collections.abc import AsyncGenerator, Mapping
from typing import Final

from myservice.domain.record_updates import RecordUpdate
from myservice.handler.records_grpc import prefix_of, record_message
from myservice.proto.v1 import records_pb2 as pb
from myservice.service.record_updates import RecordUpdates
from paceline.grpc import Call, ShuttingDown

KINDS: Final[Mapping[str, pb.RecordUpdate.Kind.ValueType]] = {
    "created": pb.RecordUpdate.CREATED,
    "replaced": pb.RecordUpdate.REPLACED,
    "deleted": pb.RecordUpdate.DELETED,
    "resync": pb.RecordUpdate.RESYNC,
}


class RecordUpdateRpc:
    """The method ``StreamUpdates`` of the RecordService."""

    def __init__(self, updates: RecordUpdates) -> None:
        self._updates = updates

    async def stream_updates(
        self, request: pb.StreamRequest, call: Call
    ) -> AsyncGenerator[pb.RecordUpdate, None]:
        """Stream every change until the client disconnects."""
        prefix = prefix_of(request.filter, "filter")
        after, caller = request.after or None, call.caller.subject
        async with self._updates.subscribe(prefix, after, caller) as updates:
            async for update in updates:
                yield update_message(update)
        raise ShuttingDown


def update_message(update: RecordUpdate) -> pb.RecordUpdate:
    """An update as a protobuf message."""
    message = pb.RecordUpdate(
        kind=KINDS[update.kind], position=update.position,
        id="" if update.id is None else str(update.id), version=update.version or 0,
        record=None if update.record is None else record_message(update.record),
    )  # fmt: skip
    message.at.FromDatetime(update.at)
    return message
