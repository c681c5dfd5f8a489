"""Migration files: a folder of ``NNNNNN_name.up.sql`` and ``NNNNNN_name.down.sql``.

The file names are golang-migrate's, by its own regular expression, so that both tools see the same
migrations in the same folder: other files are ignored, and two files for one version and direction
are an error. Either half of a pair may be missing; only a plan that needs it fails.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources.abc import Traversable

from paceline.postgres.migrate.errors import SourceError, UnknownVersion, version_text
from paceline.postgres.migrate.statements import split

_NAME = re.compile(r"([0-9]+)_(.*)\.(down|up)\.(.*)")
_COPY_IN = re.compile(r"COPY\s[^']*\sFROM\s+STDIN\b", re.IGNORECASE)
_PSQL = re.compile(r"^\\\w", re.MULTILINE)
_MAX_VERSION = 2**63 - 1
"""The version's column is a bigint."""


class Direction(StrEnum):
    """The direction in which a file changes the schema."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One migration file: half a pair."""

    version: int
    name: str
    direction: Direction
    file: Traversable

    @property
    def label(self) -> str:
        """The file's own name, for messages."""
        return self.file.name

    def read(self) -> str:
        r"""The SQL, line ends untouched.

        Errors: `SourceError` for what could never run: bytes that are not UTF-8, a byte order
        mark, a NUL character, psql's own commands (pg_dump writes ``\restrict``), ``COPY ... FROM
        STDIN`` (at which a driver would wait forever).
        """
        try:
            text = self.file.read_bytes().decode()
        except UnicodeDecodeError as exc:
            raise SourceError(f"{self.label} is not UTF-8 text (byte {exc.start})") from exc
        except OSError as exc:
            raise SourceError(f"{self.label} cannot be read") from exc
        if text.startswith("\ufeff"):
            raise SourceError(f"{self.label} starts with a byte order mark: save it without one")
        if "\0" in text:
            raise SourceError(f"{self.label} holds a NUL character")
        if _COPY_IN.search(text) or _PSQL.search(text):
            self._refuse_clients_work(text)
        return text

    def _refuse_clients_work(self, text: str) -> None:
        for statement in split(text):
            where = f"{self.label}, line {statement.line}"
            if _COPY_IN.match(statement.text):
                raise SourceError(
                    f"{where}: COPY ... FROM STDIN needs a client that feeds it: use INSERT"
                    " (pg_dump --inserts)"
                )
            if _PSQL.match(statement.text):
                command = statement.text.split(maxsplit=1)[0][:20]
                raise SourceError(
                    f"{where}: {command} is a command of psql, not SQL: remove the line"
                    " (pg_dump writes \\restrict and \\unrestrict)"
                )


class MigrationSource:
    """The migrations of a folder, by version, in ascending order."""

    def __init__(self, files: Iterable[MigrationFile], *, location: str) -> None:
        self.location = location
        self._files: dict[tuple[int, Direction], MigrationFile] = {}
        for file in files:
            existing = self._files.setdefault((file.version, file.direction), file)
            if existing is not file:
                first, second = sorted((existing.label, file.label))
                raise SourceError(
                    f"duplicate migration version {version_text(file.version)} in {location}:"
                    f" {first} and {second}"
                )
        self.versions: tuple[int, ...] = tuple(sorted({version for version, _ in self._files}))

    def find(self, version: int, direction: Direction) -> MigrationFile | None:
        """The file for ``version`` in ``direction``, if there is one."""
        return self._files.get((version, direction))

    def get(self, version: int, direction: Direction) -> MigrationFile:
        """The file for ``version`` in ``direction``.

        Errors: `SourceError` that says which file is missing.
        """
        file = self.find(version, direction)
        if file is None:
            other = self.find(version, Direction.UP) or self.find(version, Direction.DOWN)
            name = other.name if other else "name"
            raise SourceError(
                f"migration {version_text(version)} has no {direction} file: it needs"
                f" {version_text(version)}_{name}.{direction}.sql in {self.location}"
            )
        return file

    def require(self, version: int) -> None:
        """Errors: `UnknownVersion` when no file has ``version``."""
        if version not in self.versions:
            newest = f"the newest is {version_text(self.versions[-1])}" if self.versions else "none"
            raise UnknownVersion(
                f"no migration found for version {version_text(version)}"
                f" in {self.location} ({newest})"
            )


def read_source(root: Traversable) -> MigrationSource:
    """List the migrations in ``root``: a `pathlib.Path` or a folder inside a package.

    Errors: `SourceError` when the folder does not exist, a version occurs twice in one direction,
    or a version does not fit its column.
    """
    try:
        entries = sorted(root.iterdir(), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise SourceError(
            f"no folder of migrations at {root}; `migrate new NAME` makes it"
        ) from exc
    files = (_parse(entry) for entry in entries)
    return MigrationSource((file for file in files if file), location=str(root))


def _parse(entry: Traversable) -> MigrationFile | None:
    match = _NAME.fullmatch(entry.name)
    if match is None or entry.is_dir():
        return None
    digits, name, direction, _ = match.groups()
    version = int(digits)
    if version > _MAX_VERSION:
        raise SourceError(f"the version of {entry.name} is larger than a bigint")
    return MigrationFile(version, name, Direction(direction), entry)
