"""Values between protobuf and the domain, for the gRPC handlers.

Invariant: what leaves towards the domain has passed the domain's own types, so a record that came
over gRPC is one that could have come over HTTP. A field that is wrong is named as in the proto.
Times are whole seconds, as the proto says; only an update's is exact. Used by ``grpc`` and
``grpc_accounts``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeVar, cast
from uuid import UUID

import msgspec

from myservice.domain.accounts import Amount, Reference
from myservice.domain.record_updates import RecordUpdate
from myservice.domain.records import Metadata, Name, Record, RecordDraft
from myservice.handler.records_http import Prefix
from myservice.proto.v1 import records_pb2 as pb
from paceline.errors import ValidationError

T = TypeVar("T")

KINDS: Final[Mapping[str, pb.RecordUpdate.Kind.ValueType]] = {
    "created": pb.RecordUpdate.CREATED,
    "replaced": pb.RecordUpdate.REPLACED,
    "deleted": pb.RecordUpdate.DELETED,
    "resync": pb.RecordUpdate.RESYNC,
}


class DraftFields(msgspec.Struct, frozen=True):
    """What a type says of a record's draft."""

    name: Name
    metadata: Metadata


class TransferFields(msgspec.Struct, frozen=True):
    """What a type says of a transfer, besides its accounts."""

    amount: Amount
    reference: Reference


def checked(value: object, kind: type[T], field: str = "") -> T:
    """The value as a ``kind``. Errors: ValidationError that names the field inside ``field``."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        # "Expected … - at `$.name`", or, for a key, "… - at `key` in `$.metadata`".
        text, _, place = str(exc).partition(" - at ")
        inner = place.rpartition("`$")[2].rstrip("`").replace("[...]", "")
        raise ValidationError((field + inner).strip("."), text) from exc


def text_of(text: str, rule: object, field: str) -> str:
    """A text that keeps to ``rule``, an annotated ``str``. Errors: ValidationError."""
    return checked(text, cast("type[str]", rule), field)


def uuid_of(text: str, field: str) -> UUID:
    """An id. Errors: ValidationError."""
    return checked(text, UUID, field)


def prefix_of(text: str, field: str) -> str:
    """What names are to begin with. Errors: ValidationError."""
    return text_of(text, Prefix, field) if text else ""


def draft_of(request: pb.CreateRecordRequest | pb.UpdateRecordRequest) -> RecordDraft:
    """The draft in a request. Errors: ValidationError."""
    if not request.HasField("record"):
        raise ValidationError("record", "is needed")
    given = request.record
    fields = checked({"name": given.name, "metadata": dict(given.metadata)}, DraftFields, "record")
    return RecordDraft(fields.name, fields.metadata, _json_of(given.data))


def _json_of(text: str) -> msgspec.Raw:
    try:
        return msgspec.json.decode(text or "null", type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValidationError("record.data", "is not JSON") from exc


def expected_version(request: pb.UpdateRecordRequest | pb.DeleteRecordRequest) -> set[int] | None:
    """The version that is to be changed; None for any."""
    return {request.expected_version} if request.HasField("expected_version") else None


def seconds(moment: datetime) -> int:
    """Since the Unix epoch, whole."""
    return int(moment.timestamp())


def record_message(record: Record) -> pb.Record:
    """A record on the wire."""
    return pb.Record(
        id=str(record.id), name=record.name, metadata=record.metadata,
        created_at=seconds(record.created_at), data=bytes(record.data).decode(),
        version=record.version, updated_at=seconds(record.updated_at),
    )  # fmt: skip


def update_message(update: RecordUpdate) -> pb.RecordUpdate:
    """A change on the wire."""
    message = pb.RecordUpdate(
        kind=KINDS[update.kind], position=update.position,
        id="" if update.id is None else str(update.id), version=update.version or 0,
        record=None if update.record is None else record_message(update.record),
    )  # fmt: skip
    message.at.FromDatetime(update.at)
    return message
