"""Header blocks of requests (HPACK, RFC 7541), decoded with the dynamic table of one connection.

Invariant: unless the error is `CompressionError`, which ends the connection, the table afterwards
is what the client's encoder takes it for, also when the fields are more than a request may have.
Static table and Huffman's code are those of the ``hpack`` library. Its decoder was rejected: it
makes several objects a field, which costs ten times what the loop here does, and a client that
inserts something for each request (grpc-go: its deadline) makes any cache of whole blocks useless.
"""

import re
from functools import lru_cache
from typing import Final

from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)
from hpack.table import HeaderTable

from paceline.http.asgi import Headers

# The first byte of a representation: below _RESIZE a literal without indexing.
_INDEXED: Final = 0x80
_LONG_INDEX: Final = 0xFF
_INSERT: Final = 0x40
_RESIZE: Final = 0x20
_FOUR_BITS: Final = 0x0F
_FIVE_BITS: Final = 0x1F
_SIX_BITS: Final = 0x3F
_SEVEN_BITS: Final = 0x7F
_DYNAMIC: Final = len(HeaderTable.STATIC_TABLE) + 1  # the first index of the dynamic table
_LARGEST_STATIC: Final = 64  # above the size of any entry of the static table
_OVERHEAD: Final = 32  # of an entry, beyond its name and value (RFC 7541 §4.1)
_MAX_INTEGER_BYTES: Final = 5  # after the prefix: enough for 32 bits
_MAX_RESIZES: Final = 2  # in one block (RFC 7541 §4.2): the smallest and the last
_DISCARDED: Final = 8  # times the fields that a request may have; then the connection ends
_NOTHING: Final[Headers] = []
_INDEXED_RUN: Final = re.compile(rb"[\x81-\xfe]*")
_SHORT: Final = 24  # bytes in Huffman's code: times and the like, which seldom come again
_LONG: Final = 512  # up to here a string is decoded once


class CompressionError(Exception):
    """The block cannot be decoded, and so no later one either: a connection error."""


class FieldsTooLarge(Exception):
    """More fields than a request may have, or larger ones: an error of this request only (431)."""


def indexed_run(block: bytes) -> int:
    """How many fields a block begins with that are one byte each, an index."""
    found = _INDEXED_RUN.match(block)
    return 0 if found is None else found.end()


class FieldDecoder:
    """Decodes the header blocks of one connection, in the order in which they came.

    ``max_table``: the announced SETTINGS_HEADER_TABLE_SIZE. ``max_list``: the size of a list of
    fields in bytes, 32 more for each field than its name and value (RFC 9113 §6.5.2).
    ``max_fields``: their number.
    """

    def __init__(self, *, max_table: int = 4096, max_list: int, max_fields: int) -> None:
        # Both tables, each entry at its index (RFC 7541 §2.3.3): static ones, then the newest
        # dynamic one first. No representation gets at index 0.
        self._table = [(b"", b""), *HeaderTable.STATIC_TABLE]
        self._size = 0
        self._max_size = self._max_table = max_table
        self.largest: int = _LARGEST_STATIC
        """No entry of the table was ever larger."""
        self._max_list = max_list
        self._max_fields = max_fields
        self.generation: int = 0
        """Another number whenever the dynamic table has changed: with the same one, the same block
        means the same fields."""

    def content(self) -> tuple[tuple[bytes, bytes], ...]:
        """The entries of the dynamic table, the newest first."""
        return (*self._table[_DYNAMIC:],)

    def decode(self, block: bytes, start: int = 0, known: Headers = _NOTHING) -> Headers:
        """The fields of a whole block, in their order. Errors: CompressionError, FieldsTooLarge.

        ``known``: those up to ``start``, which are then not decoded again; all are indexed ones.
        """
        try:
            fields, number = self._read(block, start)
        except IndexError:
            raise CompressionError("an index or a field goes beyond its end") from None
        number += len(known)
        if number > self._max_fields:
            if number > self._max_fields * _DISCARDED:
                raise CompressionError("far too many fields")
            raise FieldsTooLarge
        # Huffman's code needs at least 5 bits for 8. This bound spares most requests the sum.
        if number * self.largest + 2 * len(block) > self._max_list:
            size = sum([len(name) + len(value) for name, value in (*known, *fields)])
            if size + number * _OVERHEAD > self._max_list:
                raise FieldsTooLarge
        return fields

    def _read(self, block: bytes, position: int) -> tuple[Headers, int]:
        """The fields and their number; none are kept that are too many, so memory is bounded."""
        table = self._table
        fields: Headers = []
        discarded = 0
        end = len(block)
        if end and _RESIZE <= block[0] < _INSERT:
            position = self._resize(block)
        while position < end:
            first = block[position]
            position += 1
            if first > _INDEXED:
                if first == _LONG_INDEX:
                    index, position = _integer(block, position, _SEVEN_BITS)
                    fields.append(table[index])
                else:
                    fields.append(table[first - _INDEXED])
                continue
            field, position = self._literal(block, position, first)
            fields.append(field)
            if len(fields) > self._max_fields:
                discarded += len(fields)
                fields.clear()
                if discarded > self._max_fields * _DISCARDED:
                    break
        return fields, discarded + len(fields)

    def _literal(self, block: bytes, position: int, first: int) -> tuple[tuple[bytes, bytes], int]:
        if _INSERT <= first < _INDEXED:
            limit = _SIX_BITS
        elif first < _RESIZE:
            limit = _FOUR_BITS
        else:
            raise CompressionError("index 0, or a size update after the first field")
        index = first & limit
        if index == limit:
            index, position = _integer(block, position, limit)
        if index:
            name = self._table[index][0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        field = (name, value)
        if first >= _INSERT:
            self._insert(field)
        return field, position

    def _insert(self, field: tuple[bytes, bytes]) -> None:
        self.generation += 1
        size = len(field[0]) + len(field[1]) + _OVERHEAD
        if size > self._max_size:
            self._shrink(0)
            return
        self.largest = max(self.largest, size)
        self._shrink(self._max_size - size)
        self._table.insert(_DYNAMIC, field)
        self._size += size

    def _shrink(self, size: int) -> None:
        """Remove the oldest entries, until no more than ``size`` bytes are left."""
        table = self._table
        while self._size > size:
            name, value = table.pop()
            self._size -= len(name) + len(value) + _OVERHEAD

    def _resize(self, block: bytes) -> int:
        """Follow the size updates at the start of a block; where its fields begin."""
        position = updates = 0
        while position < len(block) and _RESIZE <= block[position] < _INSERT:
            size = block[position] & _FIVE_BITS
            position += 1
            if size == _FIVE_BITS:
                size, position = _integer(block, position, _FIVE_BITS)
            updates += 1
            if size > self._max_table or updates > _MAX_RESIZES:
                raise CompressionError("a table larger than announced, or resized too often")
            if size != self._max_size:
                self.generation += 1
                self._max_size = size
                self._shrink(size)
        return position


def _integer(block: bytes, position: int, number: int) -> tuple[int, int]:
    """An integer that goes beyond its prefix, ``number`` (RFC 7541 §5.1), and where it ends."""
    for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
        byte = block[position]
        position += 1
        number += (byte & _SEVEN_BITS) << shift
        if byte <= _SEVEN_BITS:
            return number, position
    raise CompressionError("an integer is too long")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string (RFC 7541 §5.2), and where it ends."""
    first = block[position]
    position += 1
    length = first & _SEVEN_BITS
    if length == _SEVEN_BITS:
        length, position = _integer(block, position, _SEVEN_BITS)
    end = position + length
    text = block[position:end]
    if len(text) != length:
        raise CompressionError("a string goes beyond its block")
    if first <= _SEVEN_BITS:
        return text, end
    if length <= _SHORT:
        return _decode_short(text), end
    return _decode_long(text) if length <= _LONG else _decode(text), end


class _State:
    """A state of Huffman's code between two bytes: what each byte gives, and where it leads.

    One step for the two of the library's table. Made as they are met, since text needs a few
    thousand of the 65,000.
    """

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps: list[tuple[_State, bytes, bool] | None] = [None] * 256


class _Huffman:
    """Decodes strings in Huffman's code (RFC 7541 §5.2, appendix B)."""

    def __init__(self) -> None:
        self._states = {0: _State()}
        self._numbers = {self._states[0]: 0}

    def decode(self, text: bytes) -> bytes:
        """A string. Errors: CompressionError."""
        state = self._states[0]
        complete = True
        parts: list[bytes] = []
        add = parts.append
        for byte in text:
            step = state.steps[byte]
            if step is None:
                step = self._make(state, byte)
            state, part, complete = step
            add(part)
        if not complete:
            raise CompressionError("a string's padding is wrong")
        return b"".join(parts)

    def _make(self, state: _State, byte: int) -> tuple[_State, bytes, bool]:
        number = self._numbers[state]
        flags = 0
        part = b""
        for half in (byte >> 4, byte & 15):
            number, flags, symbol = HUFFMAN_TABLE[number * 16 + half]
            if flags & HUFFMAN_FAIL:
                raise CompressionError("a string is not in Huffman's code")
            if flags & HUFFMAN_EMIT_SYMBOL:
                part += bytes((symbol,))
        following = self._states.get(number)
        if following is None:
            following = self._states[number] = _State()
            self._numbers[following] = number
        step = state.steps[byte] = (following, part, bool(flags & HUFFMAN_COMPLETE))
        return step


# A client's token comes with each of its requests: what was decoded once is kept, up to 1 MB. Short
# texts have a place of their own, or deadlines, of which each is another, would take the tokens'.
_decode: Final = _Huffman().decode
_decode_short: Final = lru_cache(maxsize=512)(_decode)
_decode_long: Final = lru_cache(maxsize=1024)(_decode)
