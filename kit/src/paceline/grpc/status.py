"""How errors leave over gRPC: a status and google.rpc details, from one table.

Invariant: an `Error` shows its own message and nothing of its cause; any other exception shows a
fixed text. `STATUS` is the only place where a `Code` becomes a gRPC status, and a test proves it
complete. ``ErrorInfo`` carries the error's kind, ``BadRequest`` its field, ``RetryInfo`` when to
come again, ``RequestInfo`` what to quote. Texts are cut: clients accept 8 KiB of metadata, and an
error that is larger would arrive as another one. Used by ``interceptors.recover``.
"""

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from paceline.errors import Code, Error, Overloaded, ValidationError
from paceline.grpc.call import Refusal

STATUS: Final[Mapping[Code, grpc.StatusCode]] = {
    Code.OK: grpc.StatusCode.OK,
    Code.CANCELLED: grpc.StatusCode.CANCELLED,
    Code.UNKNOWN: grpc.StatusCode.UNKNOWN,
    Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Code.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Code.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Code.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Code.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Code.ABORTED: grpc.StatusCode.ABORTED,
    Code.OUT_OF_RANGE: grpc.StatusCode.OUT_OF_RANGE,
    Code.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Code.INTERNAL: grpc.StatusCode.INTERNAL,
    Code.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Code.DATA_LOSS: grpc.StatusCode.DATA_LOSS,
    Code.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
}
DETAILS: Final = "grpc-status-details-bin"
SHOWN_FOR_UNKNOWN: Final = "internal error"
_MAX_TEXT: Final = 1024
_MAX_NAME: Final = 256


class Throttled(Error):
    """Too many requests. ``retry_after``: seconds until the same would succeed."""

    kind = "too-many-requests"

    def __init__(self, retry_after: float) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, "too many requests, slow down")
        self.retry_after = retry_after


def refusal_of(exc: BaseException, *, domain: str = "", request_id: str = "") -> Refusal:
    """What ``exc`` may show. ``domain`` is the service's name in ``ErrorInfo``."""
    if isinstance(exc, Error):
        code, message = exc.code, exc.message[:_MAX_TEXT]
    else:
        code, message = Code.INTERNAL, SHOWN_FOR_UNKNOWN
    status = Status(code=code, message=message)
    for detail in _details(exc, message, domain, request_id):
        status.details.add().Pack(detail)
    return Refusal(code, message, status.SerializeToString())


def _details(exc: BaseException, message: str, domain: str, request_id: str) -> list[Message]:
    details: list[Message] = []
    if isinstance(exc, Error) and exc.kind:
        reason = exc.kind.upper().replace("-", "_")
        details.append(ErrorInfo(reason=reason, domain=domain))
    if isinstance(exc, ValidationError) and exc.field:
        violation = BadRequest.FieldViolation(field=exc.field[:_MAX_NAME], description=message)
        details.append(BadRequest(field_violations=[violation]))
    if isinstance(exc, Throttled | Overloaded):
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(int(exc.retry_after * 1e9))
        details.append(retry)
    if request_id:
        details.append(RequestInfo(request_id=request_id))
    return details
