"""Opaque cursors: a place in a listing or a stream, as a text that a client gives back unchanged.

A cursor holds the place itself (the last key seen), not an offset, so rows that are inserted or
deleted between two pages shift nothing. Invariant: a text decodes only if `encode` made it, in the
same scope. A checksum detects a cursor that was cut, edited or used with another filter; it is not
a signature: a cursor must hold nothing that is secret or that grants access. Rejected: cursors kept
in the server, which expire and are not shared by replicas.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from zlib import crc32

from paceline.errors import ValidationError

_FORMAT: Final = b"\x01"
_CHECKSUM_BYTES: Final = 4


class CursorCodec:
    """Texts for places of ``size`` bytes: URL-safe base64 without padding.

        cursors = CursorCodec(16, field="cursor", message="not a cursor of this listing")
        text = cursors.encode(last.bytes, scope=prefix)
        last = UUID(bytes=cursors.decode(text, scope=prefix))

    ``field`` and ``message`` are those of the error for any other text. ``scope`` is what the
    listing is filtered by; it is checked and not stored.
    """

    def __init__(self, size: int, *, field: str, message: str) -> None:
        self._size = size
        self._field = field
        self._message = message

    def encode(self, place: bytes, *, scope: str = "") -> str:
        """The cursor of ``place``. Errors: ValueError when it has another size."""
        if len(place) != self._size:
            raise ValueError(f"a place has {self._size} bytes, not {len(place)}")
        content = _FORMAT + place
        checksum = crc32(scope.encode(), crc32(content)).to_bytes(_CHECKSUM_BYTES)
        return urlsafe_b64encode(content + checksum).rstrip(b"=").decode()

    def decode(self, text: str, *, scope: str = "") -> bytes:
        """The place. Errors: ValidationError for a text that `encode` did not make."""
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except (UnicodeEncodeError, binascii.Error) as exc:
            raise ValidationError(self._field, self._message) from exc
        place = raw[len(_FORMAT) : -_CHECKSUM_BYTES]
        # Encoded again and compared whole, because base64 has several spellings of one content.
        if len(place) != self._size or self.encode(place, scope=scope) != text:
            raise ValidationError(self._field, self._message)
        return place
