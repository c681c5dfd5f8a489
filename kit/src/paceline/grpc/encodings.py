"""Which encoding of messages a client sends and takes, and messages out of it."""

from typing import Final

from paceline.grpc.compression import decompress, is_known
from paceline.grpc.refusals import (
    too_large_unpacked,
    unknown_encoding,
    unknown_flags,
    without_encoding,
)

_IDENTITY: Final = b"identity"


def known_encoding(value: bytes | None, name: str) -> bytes | None:
    """The encoding in field ``name``; None: not compressed. Errors: Error(UNIMPLEMENTED)."""
    if value is None or value in {b"", _IDENTITY}:
        return None
    if not is_known(value):
        raise unknown_encoding(value, name)
    return value


def preferred_encoding(accepted: bytes | None, received: bytes | None) -> bytes | None:
    """The first known encoding that a client accepts; without a list, the one that it used."""
    if accepted is None:
        return received
    for part in accepted.split(b","):
        name, _, parameters = part.partition(b";")
        name = name.strip().lower()
        quality = b"".join(parameters.lower().split()).rstrip(b"0.")
        if is_known(name) and quality != b"q=":
            return name
    return None


def unpack(flags: int, message: bytes, encoding: bytes | None, limit: int) -> bytes:
    """The message in a frame with these flags. Errors: Error."""
    if not flags:
        return message
    if flags != 1:
        raise unknown_flags(flags)
    if encoding is None:
        raise without_encoding()
    found = decompress(message, encoding, limit)
    if found is None:
        raise too_large_unpacked(limit)
    return found
