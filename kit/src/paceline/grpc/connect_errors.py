"""Connect's errors: codes and their statuses of HTTP, from one table, and errors as JSON.

The table is connectrpc.com/docs/protocol#error-codes; a test proves it complete. Details are
messages by their full name, in base64; where this process knows the type, ``debug`` shows it.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status

from paceline.errors import Code
from paceline.grpc.call import ErrorStatus
from paceline.grpc.json_messages import json_value
from paceline.grpc.metadata import encode_binary
from paceline.http import Headers


class ConnectCode(NamedTuple):
    """A code's name in Connect, and its status of HTTP."""

    name: str
    status: int


CODES: Final[Mapping[Code, ConnectCode]] = {
    Code.CANCELLED: ConnectCode("canceled", 499),
    Code.UNKNOWN: ConnectCode("unknown", 500),
    Code.INVALID_ARGUMENT: ConnectCode("invalid_argument", 400),
    Code.DEADLINE_EXCEEDED: ConnectCode("deadline_exceeded", 504),
    Code.NOT_FOUND: ConnectCode("not_found", 404),
    Code.ALREADY_EXISTS: ConnectCode("already_exists", 409),
    Code.PERMISSION_DENIED: ConnectCode("permission_denied", 403),
    Code.RESOURCE_EXHAUSTED: ConnectCode("resource_exhausted", 429),
    Code.FAILED_PRECONDITION: ConnectCode("failed_precondition", 400),
    Code.ABORTED: ConnectCode("aborted", 409),
    Code.OUT_OF_RANGE: ConnectCode("out_of_range", 400),
    Code.UNIMPLEMENTED: ConnectCode("unimplemented", 501),
    Code.INTERNAL: ConnectCode("internal", 500),
    Code.UNAVAILABLE: ConnectCode("unavailable", 503),
    Code.DATA_LOSS: ConnectCode("data_loss", 500),
    Code.UNAUTHENTICATED: ConnectCode("unauthenticated", 401),
}


def encode_error(error: ErrorStatus) -> bytes:
    """The body of a unary answer that is an error."""
    return msgspec.json.encode(_error(error))


def encode_end(error: ErrorStatus | None, trailing: Headers) -> bytes:
    """The message that ends a stream (EndStreamResponse)."""
    found: dict[str, Any] = {}
    if error is not None:
        found["error"] = _error(error)
    if trailing:
        metadata: dict[str, list[str]] = {}
        for name, value in trailing:
            metadata.setdefault(name.decode(), []).append(value.decode("latin-1"))
        found["metadata"] = metadata
    return msgspec.json.encode(found)


def _error(error: ErrorStatus) -> dict[str, Any]:
    found: dict[str, Any] = {"code": CODES[error.code].name}
    if error.message:
        found["message"] = error.message
    if error.details:
        details = [_detail(each) for each in Status.FromString(error.details).details]
        if details:
            found["details"] = details
    return found


def _detail(packed: AnyMessage) -> dict[str, Any]:
    name = packed.type_url.rpartition("/")[2]
    found = {"type": name, "value": encode_binary(packed.value).decode()}
    pool = Default()
    try:
        kind = GetMessageClass(pool.FindMessageTypeByName(name))
        found["debug"] = json_value(kind.FromString(packed.value), pool)
    except (KeyError, DecodeError, ValueError):
        pass  # its client may know it
    return found
