"""Lines of a file parsed into records, by the same rules as the API's.

`parse` runs in other processes, so it has no state, and takes and returns plain data. The fields
that the service sets itself (id, version, times) may be in a line, as an export writes them, and
are ignored: an import makes new records.
"""

import csv
import io
from typing import Any, Final

import msgspec

from myservice.domain.imports import Chunk, Parsed, Reject, storable
from myservice.domain.records import Metadata, RecordDraft, check_draft
from myservice.service.import_chunks import MAX_LINE
from paceline.errors import ValidationError

_IGNORED: Final = frozenset({"id", "version", "created_at", "updated_at"})
_KEPT_OF_LONG_LINE: Final = 1000
_NULL: Final = b"null"


class _Line(RecordDraft, frozen=True, forbid_unknown_fields=True):
    """A draft, and the fields that are ignored."""

    id: msgspec.Raw = msgspec.Raw()
    version: msgspec.Raw = msgspec.Raw()
    created_at: msgspec.Raw = msgspec.Raw()
    updated_at: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


def parse(chunk: Chunk) -> Parsed:
    """The records and the rejects of a chunk. Blank lines are neither."""
    parsed = Parsed(chunk.number, len(chunk.lines), chunk.end, [], [], [], [])
    for number, line in chunk.lines:
        if line.isspace():
            continue
        try:
            draft = _draft(chunk, line)
            check_draft(draft)
            data = bytes(draft.data).decode()
        except (
            msgspec.MsgspecError,
            ValidationError,
            ValueError,
            csv.Error,
            RecursionError,
        ) as exc:
            parsed.rejects.append(Reject(number, storable(_reason(exc)), _content(line)))
            continue
        parsed.names.append(draft.name)
        parsed.metadata.append(_encode(draft.metadata).decode())
        parsed.data.append(data)
    return parsed


def _draft(chunk: Chunk, line: bytes) -> RecordDraft:
    if len(line) > MAX_LINE:
        raise ValueError(f"the line is longer than {MAX_LINE} bytes")
    return _row(chunk.columns, line) if chunk.format == "csv" else _decode(line)


def _row(columns: tuple[str, ...], line: bytes) -> RecordDraft:
    rows = list(csv.reader(io.StringIO(line.decode(), newline=""), strict=True))
    if len(rows) != 1 or len(rows[0]) != len(columns):
        found = len(rows[0]) if rows else 0
        raise ValueError(f"the row has {found} columns, the header {len(columns)}")
    values = dict(zip(columns, rows[0], strict=True))
    if unknown := values.keys() - _IGNORED - {"name", "metadata", "data"}:
        raise ValueError(f"unknown columns: {', '.join(sorted(unknown))}")
    metadata = msgspec.json.decode(values.get("metadata") or "{}", type=Metadata)
    data = values.get("data", "").encode() or _NULL
    msgspec.json.decode(data)
    known: dict[str, Any] = {"name": values["name"], "metadata": metadata}
    return msgspec.structs.replace(msgspec.convert(known, RecordDraft), data=msgspec.Raw(data))


def _reason(exc: Exception) -> str:
    match exc:
        case ValidationError():
            return f"{exc.field}: {exc.message}"
        case UnicodeDecodeError():
            return "the line is not UTF-8"
        case RecursionError():
            return "nested too deeply"
        case _:
            return str(exc)


def _content(line: bytes) -> str:
    if len(line) > MAX_LINE:
        line = line[:_KEPT_OF_LONG_LINE] + "…".encode()
    return storable(line.decode("utf-8", "replace").rstrip("\r\n"))
