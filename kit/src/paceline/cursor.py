"""The cursor of a listing: where the next page begins, opaque to the caller.

It holds the last id that was seen, not an offset, so records that are inserted or deleted between
two pages shift nothing: each record that was there all the time is seen exactly once. A checksum
over the id and the filter refuses a cursor that was cut, made up or used with another filter,
instead of answering with a wrong page; it is no secret and protects nothing else. Used by
``records``.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from uuid import UUID
from zlib import crc32

from paceline.errors import ValidationError

_FORMAT: Final = b"\x01"
_ID_BYTES: Final = 16
_SUM_BYTES: Final = 4


def encode_cursor(last: UUID, prefix: str) -> str:
    """The cursor that continues after the record ``last`` of a listing filtered by ``prefix``."""
    content = _FORMAT + last.bytes
    return urlsafe_b64encode(content + _checksum(content, prefix)).rstrip(b"=").decode()


def decode_cursor(cursor: str, prefix: str) -> UUID:
    """The id after which the page begins. Errors: ValidationError for what we never gave out."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (UnicodeEncodeError, binascii.Error) as exc:
        raise _refused() from exc
    content = raw[:-_SUM_BYTES]
    if len(content) != len(_FORMAT) + _ID_BYTES:
        raise _refused()
    last = UUID(bytes=content[1:])
    # Made again, sum and all, for base64 has several spellings of one content.
    if encode_cursor(last, prefix) != cursor:
        raise _refused()
    return last


def _checksum(content: bytes, prefix: str) -> bytes:
    return crc32(prefix.encode(), crc32(content)).to_bytes(_SUM_BYTES)


def _refused() -> ValidationError:
    return ValidationError("cursor", "not a cursor of this listing: start again without one")
