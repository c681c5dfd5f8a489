"""Export of all records, in order of creation, in the formats that an import reads.

Invariant: memory is flat, because one page is held at a time. A record that exists throughout is
written once; one that is created, changed or deleted meanwhile is written as it was when its page
was read. Rejected: one snapshot for the whole export, which would hold back vacuum in a busy
database.
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

PAGE_SIZE: Final = 2000
_COLUMNS: Final = ("id", "name", "metadata", "data", "version", "created_at", "updated_at")
_encode: Final = msgspec.json.Encoder().encode


class ExportPage(msgspec.Struct, frozen=True):
    """Some records, encoded."""

    records: int
    content: bytes


class ExportService:
    """The use case."""

    def __init__(self, records: RecordReader) -> None:
        self._records = records

    async def run(self, form: Format) -> AsyncGenerator[ExportPage]:
        """All records, page by page; CSV begins with a page that has the header only."""
        write = _csv if form == "csv" else _ndjson
        if form == "csv":
            yield ExportPage(0, ",".join(_COLUMNS).encode() + b"\n")
        after = None
        with wrap("service.export"):
            while page := await self._records.list_after(after, PAGE_SIZE):
                yield ExportPage(len(page), write(page))
                after = page[-1].id


def _ndjson(records: Iterable[Record]) -> bytes:
    # A client may have sent a value that spans lines, and here a line is a record.
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
