"""Which encoding of messages a client sends and takes, by the fields of gRPC-Web and Connect."""

from typing import Final

from paceline.errors import Code, Error
from paceline.grpc.compression import ACCEPTED, decompress, is_known

_IDENTITY: Final = b"identity"


def known_encoding(value: bytes | None, name: str) -> bytes | None:
    """The encoding in field ``name``; None: not compressed. Errors: Error(UNIMPLEMENTED)."""
    if value is None or value in {b"", _IDENTITY}:
        return None
    if not is_known(value):
        shown = value[:100].decode("latin-1")
        raise Error(
            Code.UNIMPLEMENTED, f"{name} {shown} is not known; use one of {ACCEPTED.decode()}"
        )
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


def unpacked(message: bytes, encoding: bytes | None, limit: int) -> bytes:
    """A message that is marked as compressed. Errors: Error."""
    if encoding is None:
        raise Error(Code.INTERNAL, "the message is marked as compressed, without an encoding")
    found = decompress(message, encoding, limit)
    if found is None:
        raise Error(
            Code.RESOURCE_EXHAUSTED,
            f"the message is larger than {limit} bytes when it is decompressed (max_message)",
        )
    return found
