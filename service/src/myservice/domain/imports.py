"""Imports of records from files: chunks of a file, what they contain, the progress of an import.

Invariant: a file is always cut into the same chunks (its `Layout` is stored with the import), so
the number of a chunk that is done means the same in every run. A line that cannot become a record
is a `Reject` and does not stop the import.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from paceline.errors import Code, Error

Format = Literal["ndjson", "csv"]


class AlreadyImported(Error):
    """The same file was imported already."""

    kind = "already-imported"

    def __init__(self, message: str = "this file was imported already") -> None:
        super().__init__(Code.ALREADY_EXISTS, message)


class ImportRunning(Error):
    """Another process is importing the same file."""

    kind = "import-running"

    def __init__(self, message: str = "another import of this file is running") -> None:
        super().__init__(Code.ABORTED, message)


class Layout(msgspec.Struct, frozen=True):
    """Where a chunk ends: after so many lines, or with the line that reaches so many bytes."""

    chunk_lines: int = 2000
    chunk_bytes: int = 4 * 1024 * 1024


class NewImport(msgspec.Struct, frozen=True):
    """An import that begins. ``fingerprint``: the format and the SHA-256 of the whole file."""

    id: UUID
    fingerprint: str
    file_name: str
    layout: Layout
    at: datetime


class Chunk(msgspec.Struct, frozen=True):
    """Some lines, each with its number (from 1). ``end``: the offset in bytes after them."""

    number: int
    format: Format
    columns: tuple[str, ...]
    lines: list[tuple[int, bytes]]
    end: int


class Reject(msgspec.Struct, frozen=True):
    """A line that is no record, and why, both `storable`. A line that is too long is cut."""

    line: int
    error: str
    content: str


class Parsed(msgspec.Struct, frozen=True):
    """A chunk's records, by column and with their JSON as text, and its rejects."""

    number: int
    lines: int
    end: int
    names: list[str]
    metadata: list[str]
    data: list[str]
    rejects: list[Reject]


class Progress(msgspec.Struct, frozen=True):
    """How much is imported. ``end``: the offset in bytes; ``resumed``: lines of earlier runs."""

    lines: int = 0
    records: int = 0
    rejected: int = 0
    resumed: int = 0
    end: int = 0
    finished: bool = False


class Import(msgspec.Struct, frozen=True):
    """An import in progress, and the numbers of the chunks that are done."""

    id: UUID
    layout: Layout
    done: frozenset[int]
    progress: Progress


def storable(text: str) -> str:
    """The text with U+FFFD for what PostgreSQL cannot store: NUL, and halves of surrogate pairs.

    A decoder's error quotes the key that it met, and the name of a file may be no Unicode.
    """
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    )
