"""Exporting all records, in order of creation, as an import reads them.

Memory is flat: one page is held at a time. Each record that is there throughout is written once;
one that comes, goes or changes meanwhile is written as its page found it, for no snapshot is held
open against a busy database.
"""

import csv
import io
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import msgspec

from myservice.domain.imports import Format
from myservice.domain.records import Record
from myservice.service.records import RecordReader
from paceline.errors import wrap

PAGE: Final = 2000
_COLUMNS: Final = ("id", "name", "metadata", "data", "version", "created_at", "updated_at")
_encode: Final = msgspec.json.Encoder().encode


class Page(msgspec.Struct, frozen=True):
    """Some records, written out."""

    records: int
    content: bytes


class ExportService:
    """The use case."""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    async def run(self, form: Format) -> AsyncGenerator[Page]:
        """All of it, page by page; a CSV file begins with a page for its header."""
        write = _csv if form == "csv" else _ndjson
        if form == "csv":
            yield Page(0, ",".join(_COLUMNS).encode() + b"\n")
        after = None
        with wrap("service.export"):
            while page := await self._records.list_after(after, "", PAGE):
                yield Page(len(page), write(page))
                after = page[-1].id


def _ndjson(records: Iterable[Record]) -> bytes:
    # A pretty value may span lines in what was sent, and here a line is a record.
    return b"".join(msgspec.json.format(_encode(record), indent=-1) + b"\n" for record in records)


def _csv(records: Iterable[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for record in records:
        writer.writerow(
            (
                record.id,
                record.name,
                _encode(record.metadata).decode(),
                bytes(record.data).decode(),
                record.version,
                record.created_at.isoformat(),
                record.updated_at.isoformat(),
            )
        )
    return text.getvalue().encode()
