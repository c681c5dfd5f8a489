"""Importing records: pieces of a file, what is in them, how far an import has come.

Invariant: a file is always cut into the same chunks (`Layout` is kept with the import), so a chunk
that is done is done, whoever asks. A line that cannot become a record is a `Reject` and stops
nothing. ``service.chunks`` cuts, ``service.parsing`` reads the lines, ``service.imports`` goes
through the file.
"""

from typing import Literal
from uuid import UUID

import msgspec

from paceline.errors import Code, Error

Format = Literal["ndjson", "csv"]


class AlreadyImported(Error):
    """This very file is in already."""

    kind = "already-imported"

    def __init__(self, message: str = "this file was imported already") -> None:
        super().__init__(Code.ALREADY_EXISTS, message)


class ImportRunning(Error):
    """Somebody else is importing the same file right now."""

    kind = "import-running"

    def __init__(self, message: str = "another import of this file is running") -> None:
        super().__init__(Code.ABORTED, message)


class Layout(msgspec.Struct, frozen=True):
    """Where a chunk ends: after so many lines, or with the line that reaches so many bytes."""

    chunk_lines: int = 2000
    chunk_bytes: int = 4 * 1024 * 1024


class Chunk(msgspec.Struct, frozen=True):
    """Some lines, each with its number (from 1). ``end`` is the offset in bytes behind them."""

    number: int
    format: Format
    columns: tuple[str, ...]
    lines: list[tuple[int, bytes]]
    end: int


class Reject(msgspec.Struct, frozen=True):
    """A line that is no record, and why. A line that is too long is cut."""

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


class Tally(msgspec.Struct, frozen=True):
    """So much of a file is in. ``end`` is how far in bytes; ``resumed``: lines of earlier runs."""

    lines: int = 0
    records: int = 0
    rejected: int = 0
    resumed: int = 0
    end: int = 0
    finished: bool = False


class Import(msgspec.Struct, frozen=True):
    """An import that is under way, and the chunks of it that are done."""

    id: UUID
    layout: Layout
    done: frozenset[int]
    tally: Tally
