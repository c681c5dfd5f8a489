"""A place in the stream of record changes, and its opaque text for clients.

Positions are totally ordered, and everything at or before one that was given out has been
delivered: resuming after it is exact. A checksum refuses what we never gave out, instead of
resuming anywhere. `Position` compares as the pair that it is; ``repository.changes`` says what its
numbers are. Used by ``feed``; ``updates`` has what travels with it.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from struct import Struct, error
from typing import Final, NamedTuple
from zlib import crc32

from paceline.errors import ValidationError

_FORM: Final = Struct(">BQQ")
_FORMAT: Final = 1
_SUM_BYTES: Final = 4
END_OF_SEQ: Final = 2**63 - 1


class Position(NamedTuple):
    """After the change ``seq`` of those that settled with ``settled``."""

    settled: int
    seq: int


def encode_position(position: Position) -> str:
    """The text, always 28 characters."""
    content = _FORM.pack(_FORMAT, *position)
    return urlsafe_b64encode(content + crc32(content).to_bytes(_SUM_BYTES)).decode()


def decode_position(text: str) -> Position:
    """Errors: ValidationError for what `encode_position` never gave."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii"))
        form, settled, seq = _FORM.unpack(raw[:-_SUM_BYTES])
    except (UnicodeEncodeError, binascii.Error, error) as exc:
        raise _refused() from exc
    position = Position(settled, seq)
    # Spelt again, for base64 has several spellings of one content.
    if form != _FORMAT or max(position) > END_OF_SEQ or encode_position(position) != text:
        raise _refused()
    return position


def _refused() -> ValidationError:
    return ValidationError("after", "not a position of this stream: start again without one")
