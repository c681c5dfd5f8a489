"""The header blocks of responses: what is constant is encoded once.

A response is headers, messages and trailers; an error before the first message is one block, its
status among the headers ("trailers-only" in gRPC's PROTOCOL-HTTP2.md).
"""

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from paceline.grpc.call import ErrorStatus
from paceline.grpc.compression import ACCEPTED
from paceline.grpc.metadata import encode_binary, encode_message, metadata_fields
from paceline.grpc.status import STATUS
from paceline.http import Headers
from paceline.http.server import encode_fields, encode_status

_SHORT: Final = 127  # lengths of one byte
_CONTENT_TYPE: Final = b"content-type"
_OK: Final = encode_status(HTTPStatus.OK)
CONTENT_TYPES: Final = (b"application/grpc", b"application/grpc+proto")
HEADS: Final = {kind: _OK + encode_fields([(_CONTENT_TYPE, kind)]) for kind in CONTENT_TYPES}
"""The headers of a response whose request had this ``content-type``."""
OK_TRAILERS: Final = encode_fields([(b"grpc-status", b"0")])
ENCODINGS: Final = {
    name: encode_fields([(b"grpc-encoding", name)]) for name in (b"gzip", b"deflate")
}
_ACCEPTED: Final = encode_fields([(b"grpc-accept-encoding", ACCEPTED)])


def encode_metadata(metadata: Sequence[tuple[str, str | bytes]]) -> bytes:
    """Metadata as a part of a block. Errors: ValueError."""
    if len(metadata) == 1:  # mostly the request id
        name, value = metadata[0]
        if isinstance(value, str) and 0 < len(value) < _SHORT and value.isascii():
            start = _start_of(name)
            if start and value.isprintable() and " " not in value:
                return b"%b%c%b" % (start, len(value), value.encode())
    return encode_fields(metadata_fields(metadata))


@lru_cache(maxsize=256)
def _start_of(name: str) -> bytes:
    """A field up to the length of its value; empty for names whose values are bytes."""
    if name.endswith("-bin"):
        return b""
    return encode_fields(metadata_fields([(name, "")]))[:-1]


def error_fields(error: ErrorStatus) -> Headers:
    """The trailers of a call that failed, as fields."""
    fields: Headers = [
        (b"grpc-status", b"%d" % STATUS[error.code]),
        (b"grpc-message", encode_message(error.message)),
    ]
    if error.details:
        fields.append((b"grpc-status-details-bin", encode_binary(error.details)))
    return fields


def encode_error(error: ErrorStatus) -> bytes:
    """The same, encoded."""
    return encode_fields(error_fields(error))


def refusal(error: ErrorStatus, *, status: int = HTTPStatus.OK, headers: Headers = []) -> bytes:  # noqa: B006 - it is only read
    """A whole response without messages. ``status``: HTTP's, for clients that are not gRPC's."""
    start = encode_status(status) + encode_fields([(_CONTENT_TYPE, CONTENT_TYPES[0]), *headers])
    return start + encode_error(error)


def unknown_encoding(error: ErrorStatus) -> bytes:
    """The refusal of an encoding that is not known; it names the known ones."""
    return HEADS[CONTENT_TYPES[0]] + _ACCEPTED + encode_error(error)
