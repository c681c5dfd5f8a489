"""Errors as gRPC statuses with google.rpc details, from one table.

Invariant: an `Error` shows its own message and nothing of its cause; any other exception shows a
fixed text. `STATUS` is the only place where a `Code` becomes a gRPC status, and a test proves it
complete. ``ErrorInfo`` carries the error's kind, ``BadRequest`` its field, ``RetryInfo`` when to
retry, ``RequestInfo`` the request id. Texts are truncated: clients accept 8 KiB of metadata, and a
larger error would arrive as a different one.
"""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from paceline.edge import RateLimited
from paceline.errors import Code, Error, Overloaded, ValidationError
from paceline.grpc.call import ErrorStatus

STATUS: Final[Mapping[Code, int]] = {
    Code.OK: 0,
    Code.CANCELLED: 1,
    Code.UNKNOWN: 2,
    Code.INVALID_ARGUMENT: 3,
    Code.DEADLINE_EXCEEDED: 4,
    Code.NOT_FOUND: 5,
    Code.ALREADY_EXISTS: 6,
    Code.PERMISSION_DENIED: 7,
    Code.RESOURCE_EXHAUSTED: 8,
    Code.FAILED_PRECONDITION: 9,
    Code.ABORTED: 10,
    Code.OUT_OF_RANGE: 11,
    Code.UNIMPLEMENTED: 12,
    Code.INTERNAL: 13,
    Code.UNAVAILABLE: 14,
    Code.DATA_LOSS: 15,
    Code.UNAUTHENTICATED: 16,
}
UNKNOWN_ERROR: Final = "internal error"
_MAX_TEXT: Final = 1024
_MAX_NAME: Final = 256


def error_status_of(exc: BaseException, *, domain: str = "", request_id: str = "") -> ErrorStatus:
    """The status for ``exc``. ``domain``: the service's name, in ``ErrorInfo``."""
    if isinstance(exc, Error):
        code, message = exc.code, exc.message[:_MAX_TEXT]
    else:
        code, message = Code.INTERNAL, UNKNOWN_ERROR
    status = Status(code=STATUS[code], message=message)
    for detail in _details(exc, message, domain, request_id):
        status.details.add().Pack(detail)
    return ErrorStatus(code, message, status.SerializeToString())


def _details(exc: BaseException, message: str, domain: str, request_id: str) -> list[Message]:
    details: list[Message] = []
    if isinstance(exc, Error) and exc.kind:
        reason = exc.kind.upper().replace("-", "_")
        details.append(ErrorInfo(reason=reason, domain=domain))
    if isinstance(exc, ValidationError) and exc.field:
        violation = BadRequest.FieldViolation(field=exc.field[:_MAX_NAME], description=message)
        details.append(BadRequest(field_violations=[violation]))
    if isinstance(exc, RateLimited | Overloaded):
        retry = RetryInfo()
        retry.retry_delay.FromNanoseconds(int(exc.retry_after * 1e9))
        details.append(retry)
    if request_id:
        details.append(RequestInfo(request_id=request_id))
    return details
