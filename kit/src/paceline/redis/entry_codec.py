"""The stored form of a cached value: its JSON after a header with the schema and the expiry.

Invariant: bytes of another layout, of another type's schema, or damaged in any way decode to
`UnreadableEntry`, never to a wrong value, so old and new releases can share a cache: each treats
the other's entries as misses. The schema is in the header and not in the key, because a release
that changes a value must invalidate it for the other releases too.
"""

import hashlib
import json
import struct
from typing import Final, Generic, TypeVar

import msgspec

V = TypeVar("V")

# Layout, schema, whether there is a value, when it expires (Unix seconds), seconds to fetch it.
_HEADER: Final = struct.Struct(">B8s?dd")
_LAYOUT: Final = 1


class UnreadableEntry(Exception):
    """The bytes are not an entry of this type."""


class Entry(msgspec.Struct, Generic[V], frozen=True):
    """A ``value`` (None for "there is none"), when it ``expires_at``, what it ``cost`` to fetch."""

    value: V | None
    expires_at: float
    cost: float


class EntryCodec(Generic[V]):
    """Encodes and decodes entries whose values are of one ``type``."""

    def __init__(self, type: type[V]) -> None:  # noqa: A002 - as in msgspec
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(type).decode
        schema = json.dumps(msgspec.json.schema(type), sort_keys=True).encode()
        self._schema = hashlib.sha256(schema).digest()[:8]

    def encode(self, entry: Entry[V]) -> bytes:
        """The bytes to store."""
        has_value = entry.value is not None
        header = _HEADER.pack(_LAYOUT, self._schema, has_value, entry.expires_at, entry.cost)
        return header + self._encode(entry.value) if has_value else header

    def decode(self, data: bytes) -> Entry[V]:
        """The entry in ``data``. Errors: `UnreadableEntry`."""
        try:
            layout, schema, has_value, expires_at, cost = _HEADER.unpack_from(data)
            if layout != _LAYOUT or schema != self._schema:
                raise UnreadableEntry("another layout or schema")
            value = self._decode(memoryview(data)[_HEADER.size :]) if has_value else None
        except (struct.error, msgspec.DecodeError, RecursionError) as exc:
            raise UnreadableEntry("damaged") from exc
        return Entry(value, expires_at, cost)
