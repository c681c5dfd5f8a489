"""Metadata: header fields of HTTP/2 as pairs of names and values, and back.

Names are in lower case. A value is text, or bytes where its name ends in ``-bin``: these travel as
base64, read with and without padding and as lists joined by commas, written without padding
(gRPC's PROTOCOL-HTTP2.md). Invariant: what does not fit into a field is an error and never sent.
Text that is no ASCII is read and written as Latin-1, so a value that came can be sent back.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from paceline.errors import Code, Error
from paceline.http import Headers

Metadata = list[tuple[str, str | bytes]]

_BINARY: Final = b"-bin"
_PROTOCOL: Final = frozenset({b"te", b"content-type", b"content-length"})
_RESERVED: Final = "grpc-"
_AUTHORIZATION: Final = b"authorization"
_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(rb"[\x20-\x7e\x80-\xff]*")
_MAX_SENT: Final = 8 * 1024
_FIELD_OVERHEAD: Final = 32  # RFC 9113 §6.5.2, by which clients count
_PLAIN: Final = re.compile(r"[ -$&-~]*")
_PERCENT_ENCODED: Final = [
    bytes((byte,)) if _PLAIN.fullmatch(chr(byte)) else b"%%%02X" % byte for byte in range(256)
]


def fields_of(headers: Headers) -> Mapping[bytes, bytes]:
    """Each name with its last value; two values of ``authorization`` are an empty one."""
    fields = dict(headers)
    if len(fields) != len(headers) and sum(name == _AUTHORIZATION for name, _ in headers) > 1:
        fields[_AUTHORIZATION] = b""
    return fields


def read_metadata(headers: Headers) -> Metadata:
    """The metadata in a request's fields, in their order, without those of the protocol.

    Errors: Error(INTERNAL) for a ``-bin`` value that is no base64.
    """
    found: Metadata = []
    for name, value in headers:
        if name in _PROTOCOL or name.startswith(b"grpc-"):
            continue
        text = name.decode("latin-1")
        if name.endswith(_BINARY):
            found += [(text, _decode(text, part)) for part in value.split(b",")]
        else:
            found.append((text, value.decode("latin-1")))
    return found


def _decode(name: str, value: bytes) -> bytes:
    value = value.strip(b" \t").rstrip(b"=")
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except BadBase64 as exc:
        raise Error(Code.INTERNAL, f"the metadata {name} is not base64") from exc


def metadata_fields(metadata: Iterable[tuple[str, str | bytes]]) -> Headers:
    """Metadata as header fields.

    Errors: ValueError for what no field can hold, and for more than the 8 KiB that clients accept.
    """
    fields: Headers = []
    size = 0
    for name, value in metadata:
        field, is_binary = _field_name(name)
        if is_binary:
            raw = encode_binary(value if isinstance(value, bytes) else value.encode())
        elif isinstance(value, str) and value.isascii() and value.isprintable():
            raw = value.strip(" ").encode()
        else:
            raw = value if isinstance(value, bytes) else value.encode("latin-1")
            if _VALUE.fullmatch(raw) is None:
                raise ValueError(f"metadata {name}: its value has control characters")
            raw = raw.strip(b" ")
        size += len(field) + len(raw) + _FIELD_OVERHEAD
        fields.append((field, raw))
    if size > _MAX_SENT:
        raise ValueError(f"{size} bytes of metadata: clients accept {_MAX_SENT}")
    return fields


@lru_cache(maxsize=256)
def _field_name(name: str) -> tuple[bytes, bool]:
    """A name as a field's, and whether its values are bytes; most calls send the same few."""
    if _NAME.fullmatch(name) is None or name.startswith(_RESERVED):
        raise ValueError(f"{name!r} cannot be the name of metadata")
    return name.encode(), name.endswith("-bin")


def encode_binary(value: bytes) -> bytes:
    """Bytes as the value of a ``-bin`` field."""
    return b64encode(value).rstrip(b"=")


def encode_message(text: str) -> bytes:
    """The value of ``grpc-message``: UTF-8, percent-encoded.

    encode_message("50 % ☺")  # b"50 %25 %E2%98%BA"
    """
    if _PLAIN.fullmatch(text) is not None:
        return text.encode("ascii")
    return b"".join([_PERCENT_ENCODED[byte] for byte in text.encode("utf-8", "replace")])
