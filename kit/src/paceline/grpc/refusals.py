"""What calls are refused with, whichever protocol they came by: each code and text once.

Codes are those of gRPC's statuscodes.md and compression.md; for bytes that are no messages these
have none, and it is INVALID_ARGUMENT, since INTERNAL would be logged as a failure of the server.
"""

from typing import Final

from paceline.concurrency import DeadlineExceeded
from paceline.errors import Code, Error
from paceline.grpc.call import ErrorStatus
from paceline.grpc.compression import ACCEPTED
from paceline.grpc.status import error_status_of

_MAX_SHOWN: Final = 200


def too_large(size: int, limit: int) -> Error:
    """A message of ``size`` bytes, or of which so many have come already."""
    return Error(
        Code.RESOURCE_EXHAUSTED, f"the message has {size} bytes, more than {limit} (max_message)"
    )


def too_large_unpacked(limit: int) -> Error:
    """A message that is within the limit as long as it is compressed."""
    return Error(
        Code.RESOURCE_EXHAUSTED,
        f"the message is larger than {limit} bytes when it is decompressed (max_message)",
    )


def no_message() -> Error:
    """A request without a message, of a method that takes one."""
    return Error(Code.UNIMPLEMENTED, "the method takes one message, and none came")


def more_messages() -> Error:
    """A request with two messages, of a method that takes one."""
    return Error(Code.UNIMPLEMENTED, "the method takes one message, and more came")


def cut_short() -> Error:
    """A request that ends before its last message does."""
    return Error(Code.INVALID_ARGUMENT, "the request ends within a message")


def unknown_flags(flags: int) -> Error:
    """A message of which the prefix begins with something else than 0 or 1."""
    return Error(Code.INVALID_ARGUMENT, f"the message has the flags {flags:#04x}; 1: compressed")


def without_encoding() -> Error:
    """A message that is compressed, and nothing says how."""
    return Error(Code.INTERNAL, "the message is marked as compressed, without an encoding")


def unknown_encoding(value: bytes, name: str) -> Error:
    """An encoding of messages that cannot be read; ``name``: of the field that has it."""
    shown = value[:_MAX_SHOWN].decode("latin-1")
    return Error(Code.UNIMPLEMENTED, f"{name} {shown} is not known; use one of {ACCEPTED.decode()}")


def too_slow() -> DeadlineExceeded:
    """A message of which the end does not come in time."""
    return DeadlineExceeded("the request took too long to arrive", client_imposed=True)


def past_deadline(seconds: float, field: str) -> DeadlineExceeded:
    """A call that took longer than the ``seconds`` in its client's ``field``."""
    return DeadlineExceeded(
        f"the call took longer than the {seconds:g}s set by the client ({field})",
        client_imposed=True,
    )


TOO_MANY_CALLS: Final[ErrorStatus] = error_status_of(
    Error(Code.RESOURCE_EXHAUSTED, "too many calls are being answered: try again later")
)
MALFORMED_TIMEOUT: Final[ErrorStatus] = error_status_of(
    Error(Code.INTERNAL, 'grpc-timeout is malformed: send a time like "500m"')
)
