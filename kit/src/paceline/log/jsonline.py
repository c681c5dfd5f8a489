"""A record as one line of JSON, whatever its texts hold.

JSON escapes the characters below U+0020. Some readers also end a line at U+0085, U+2028 or U+2029,
a terminal may interpret U+009B, and bidirectional marks make a text look like another one: they are
escaped as well, as JSON allows for any character. A lone surrogate, which UTF-8 cannot encode,
becomes its escape as text.
"""

import re
from typing import Final

import msgspec

from paceline.log.redact import is_list, is_mapping

_DELETE: Final = 0x7F
_encoder: Final = msgspec.json.Encoder()
_UNSAFE: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def encode(record: dict[str, object]) -> bytes:
    """The record as a line, line end included."""
    try:
        line = _encoder.encode(record)
    except UnicodeEncodeError:
        line = _encoder.encode(_without_surrogates(record))
    return terminated(line)


def encode_part(part: object) -> bytes:
    """A part of a record, to be put into a `terminated` line.

    Errors: ``UnicodeEncodeError`` for a lone surrogate.
    """
    return _encoder.encode(part)


def terminated(line: bytes) -> bytes:
    """The line with everything but plain text escaped, and its line end."""
    if not line.isascii() or _DELETE in line:
        line = _UNSAFE.sub(_escape, line.decode()).encode()
    return line + b"\n"


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if is_mapping(value):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if is_list(value):
        return [_without_surrogates(member) for member in value]
    return value
