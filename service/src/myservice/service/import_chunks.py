"""A file of records, cut into chunks of whole lines.

Invariant: memory is bounded by the layout and `MAX_LINE`, whatever the file contains: of a longer
line only the start is kept, to be rejected. A CSV row may span lines as long as a quote is open.
Line numbers are those an editor shows; a row has the number of its first line.
"""

import csv
from collections.abc import Iterator
from typing import BinaryIO, Final

from myservice.domain.imports import Chunk, Format, Layout
from paceline.errors import ValidationError

MAX_LINE: Final = 1024 * 1024
_COLUMNS: Final = ("name", "metadata", "data")
_BOM: Final = b"\xef\xbb\xbf"
_Line = tuple[int, bytes]


def read_chunks(file: BinaryIO, form: Format, layout: Layout) -> Iterator[Chunk]:
    """The chunks in order.

    Errors: ValidationError when a CSV file's first row does not name its columns.
    """
    lines = _lines(file)
    columns: tuple[str, ...] = ()
    if form == "csv":
        lines = _rows(lines)
        columns = _header(lines)
    number, chunk, size = 0, list[_Line](), 0
    for line in lines:
        chunk.append(line)
        size += len(line[1])
        if len(chunk) >= layout.chunk_lines or size >= layout.chunk_bytes:
            yield Chunk(number, form, columns, chunk, file.tell())
            number, chunk, size = number + 1, [], 0
    if chunk:
        yield Chunk(number, form, columns, chunk, file.tell())


def _lines(file: BinaryIO) -> Iterator[_Line]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            _skip_rest(file)
        yield number, line.removeprefix(_BOM) if number == 1 else line


def _skip_rest(file: BinaryIO) -> None:
    while (part := file.readline(MAX_LINE)) and not part.endswith(b"\n"):
        pass


def _rows(lines: Iterator[_Line]) -> Iterator[_Line]:
    """Join the lines of a row whose quotes are still open."""
    for number, first in lines:
        # Counted and joined once: an unclosed quote may span a hundred thousand lines.
        parts, size, quotes = [first], len(first), first.count(b'"')
        while quotes % 2 and size <= MAX_LINE:
            following = next(lines, None)
            if following is None:
                break
            parts.append(following[1])
            size += len(following[1])
            quotes += following[1].count(b'"')
        yield number, b"".join(parts)[: MAX_LINE + 1]


def _header(rows: Iterator[_Line]) -> tuple[str, ...]:
    _, first = next(rows, (1, b""))
    columns = tuple(next(csv.reader([first.decode("utf-8", "replace")]), list[str]()))
    if "name" not in columns or len(set(columns)) != len(columns):
        wanted = ",".join(_COLUMNS)
        raise ValidationError("columns", f"the first row must name them, such as {wanted}")
    return columns
