"""Header blocks of requests, decoded by the ``hpack`` library."""

import hpack

from paceline.http.asgi import Headers


class CompressionError(Exception):
    """The block cannot be decoded: a connection error."""


class FieldsTooLarge(Exception):
    """The fields exceed a limit; the table is right."""


class FieldDecoder:
    """Decodes the header blocks of one connection, in the order in which they came."""

    def __init__(self, *, max_table: int = 4096, max_list: int, max_fields: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self._decoder.max_allowed_table_size = max_table
        self._max_list = max_list
        self._max_fields = max_fields
        self.generation = 0

    def decode(self, block: bytes) -> Headers:
        """The fields of a block. Errors: CompressionError, FieldsTooLarge."""
        table = self._decoder.header_table.dynamic_entries
        before = (len(table), table[0] if table else None, self._decoder.header_table_size)
        try:
            found = self._decoder.decode(block, raw=True)
        except Exception as exc:
            raise CompressionError(str(exc)) from exc
        after = (len(table), table[0] if table else None, self._decoder.header_table_size)
        if before[0] != after[0] or before[1] is not after[1] or before[2] != after[2]:
            self.generation += 1
        fields = [(bytes(field[0]), bytes(field[1])) for field in found]
        if (
            len(fields) > self._max_fields
            or sum(len(n) + len(v) + 32 for n, v in fields) > self._max_list
        ):
            raise FieldsTooLarge
        return fields
