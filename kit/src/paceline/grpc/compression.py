"""Compression of messages: gzip and deflate, one message at a time.

Invariant: a message is never decompressed further than its limit, so a small one that would become
a large one costs no more than the limit. ``deflate`` is zlib's format (RFC 1950), as gRPC's
compression.md has it.
"""

import zlib
from typing import Final

from paceline.errors import Code, Error

_GZIP: Final = 16 + zlib.MAX_WBITS
_WINDOW_BITS: Final = {b"gzip": _GZIP, b"deflate": zlib.MAX_WBITS}

ACCEPTED: Final = b"identity, deflate, gzip"
"""The value of ``grpc-accept-encoding``."""


def is_known(encoding: bytes) -> bool:
    """Whether messages of this ``grpc-encoding`` can be read and written."""
    return encoding in _WINDOW_BITS


def choose_encoding(accepted: bytes | None) -> bytes | None:
    """An encoding that a client's ``grpc-accept-encoding`` names; None: it takes none of them."""
    if accepted is None:
        return None
    names = [name.strip() for name in accepted.split(b",")]
    return next((name for name in _WINDOW_BITS if name in names), None)


def compress(message: bytes, encoding: bytes) -> bytes:
    """A message in a known encoding."""
    packer = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    return packer.compress(message) + packer.flush()


def decompress(message: bytes, encoding: bytes, limit: int) -> bytes | None:
    """A message of at most ``limit`` bytes; None: it is larger. Errors: Error(INTERNAL)."""
    unpacker = zlib.decompressobj(wbits=_WINDOW_BITS[encoding])
    try:
        found = unpacker.decompress(message, limit + 1)
    except zlib.error as exc:
        raise _broken(encoding) from exc
    if len(found) > limit:
        return None
    if not unpacker.eof or unpacker.unused_data:
        raise _broken(encoding)
    return found


def _broken(encoding: bytes) -> Error:
    return Error(Code.INTERNAL, f"the message cannot be decompressed by {encoding.decode()}")
