"""Header fields as HPACK (RFC 7541), encoded without state: the same fields are the same bytes.

So a response's fields can be encoded once, for all connections. Literals without indexing and
without Huffman's code: a few bytes more than a table would need, and no table to keep for each
client. Names and values that are in the static table are sent as its index.
"""

from collections.abc import Iterable
from typing import Final

_STATUS: Final = {
    200: b"\x88", 204: b"\x89", 206: b"\x8a", 304: b"\x8b",
    400: b"\x8c", 404: b"\x8d", 500: b"\x8e",
}  # fmt: skip
_STATUS_NAME: Final = 8
_NAMES: Final = {
    b"accept-ranges": 18, b"age": 21, b"allow": 22, b"cache-control": 24,
    b"content-disposition": 25, b"content-encoding": 26, b"content-language": 27,
    b"content-length": 28, b"content-location": 29, b"content-range": 30, b"content-type": 31,
    b"date": 33, b"etag": 34, b"expires": 36, b"last-modified": 44, b"link": 45, b"location": 46,
    b"retry-after": 53, b"server": 54, b"set-cookie": 55, b"vary": 59, b"www-authenticate": 61,
}  # fmt: skip
_FOUR_BITS: Final = 15
_SEVEN_BITS: Final = 127


def encode_status(status: int) -> bytes:
    """The pseudo-field ``:status``, which comes before the others."""
    found = _STATUS.get(status)
    if found is not None:
        return found
    return _integer(_STATUS_NAME, _FOUR_BITS) + b"\x03%d" % status


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields with names in lower case.

    Example: ``encode_status(200) + encode_fields([(b"content-type", b"application/grpc")])``.
    """
    return b"".join([_field(name, value) for name, value in fields])


def _field(name: bytes, value: bytes) -> bytes:
    index = _NAMES.get(name)
    length = _integer(len(value), _SEVEN_BITS)
    if index is not None:
        return b"%b%b%b" % (_integer(index, _FOUR_BITS), length, value)
    return b"\0%b%b%b%b" % (_integer(len(name), _SEVEN_BITS), name, length, value)


def _integer(value: int, limit: int) -> bytes:
    """An integer with a prefix of 4 or 7 bits, whose other bits are zero (RFC 7541 §5.1)."""
    if value < limit:
        return bytes((value,))
    rest = value - limit
    out = bytearray((limit,))
    while rest > _SEVEN_BITS:
        out.append(rest & _SEVEN_BITS | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
