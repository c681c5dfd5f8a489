"""What is stored for a value: its JSON, behind a head that says how to read it and when to renew.

Invariant: an envelope of another layout, of another type's schema, or damaged in any way opens as
`Unreadable`, never as a wrong value, so old and new releases can share a cache: each takes the
other's entries for misses. The schema is in the envelope and not in the key, because a release
that changes a value must remove it for the others too. Used by ``aside``.
"""

import hashlib
import json
import struct
from typing import Final, Generic, TypeVar

import msgspec

V = TypeVar("V")

# Layout, schema, whether there is a value, when it expires (Unix seconds), seconds to fetch it.
_HEAD: Final = struct.Struct(">B8s?dd")
_LAYOUT: Final = 1


class Unreadable(Exception):
    """The bytes are not an envelope of this type."""


class Entry(msgspec.Struct, Generic[V], frozen=True):
    """A ``value`` (None for "there is none"), when it ``expires_at``, what it ``cost`` to fetch."""

    value: V | None
    expires_at: float
    cost: float


class EntryCodec(Generic[V]):
    """Seals and opens values of one ``type``."""

    def __init__(self, type: type[V]) -> None:  # noqa: A002 - as in msgspec
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(type).decode
        schema = json.dumps(msgspec.json.schema(type), sort_keys=True).encode()
        self._schema = hashlib.sha256(schema).digest()[:8]

    def seal(self, entry: Entry[V]) -> bytes:
        """The bytes to store."""
        there = entry.value is not None
        head = _HEAD.pack(_LAYOUT, self._schema, there, entry.expires_at, entry.cost)
        return head + self._encode(entry.value) if there else head

    def open(self, sealed: bytes) -> Entry[V]:
        """What is inside. Errors: `Unreadable`."""
        try:
            layout, schema, there, expires_at, cost = _HEAD.unpack_from(sealed)
            if layout != _LAYOUT or schema != self._schema:
                raise Unreadable("another layout or schema")
            value = self._decode(memoryview(sealed)[_HEAD.size :]) if there else None
        except (struct.error, msgspec.DecodeError, RecursionError) as exc:
            raise Unreadable("damaged") from exc
        return Entry(value, expires_at, cost)
