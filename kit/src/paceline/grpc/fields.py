"""Fields of protobuf messages as values of typed rules.

Protobuf has no rules for values beyond their types, so a handler converts the fields of a request
into the types that HTTP decodes into. Invariant: what passes satisfies the same rules as a request
over HTTP, and a field that does not is named as in the proto.
"""

from datetime import UTC, datetime
from typing import TypeVar, cast
from uuid import UUID

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from paceline.errors import ValidationError

T = TypeVar("T")


def convert_field(value: object, kind: type[T], field: str = "") -> T:
    """``value`` as a ``kind``, such as a struct of several fields. ``field``: what holds it.

        fields = convert_field({"amount": request.amount}, TransferFields)

    Errors: ValidationError that names the field inside ``field`` ("record.name").
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        # "Expected … - at `$.name`", or, for a key, "… - at `key` in `$.metadata`".
        text, _, place = str(exc).partition(" - at ")
        inner = place.rpartition("`$")[2].rstrip("`").replace("[...]", "")
        raise ValidationError((field + inner).strip("."), text) from exc


def convert_text(text: str, rule: object, field: str) -> str:
    """``text`` if it satisfies ``rule``, an annotated ``str``. Errors: ValidationError."""
    return convert_field(text, cast("type[str]", rule), field)


def convert_uuid(text: str, field: str) -> UUID:
    """An id. Errors: ValidationError."""
    return convert_field(text, UUID, field)


def convert_time(moment: Timestamp, field: str) -> datetime:
    """A time, in UTC. Errors: ValidationError for one before the year 1 or after 9999."""
    try:
        return moment.ToDatetime(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValidationError(field, "is out of range") from exc


def timestamp(moment: datetime) -> Timestamp:
    """A time as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def unix_seconds(moment: datetime) -> int:
    """Whole seconds since the Unix epoch."""
    return int(moment.timestamp())
