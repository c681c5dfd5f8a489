"""Creates a pair of migration files with the next number.

Numbers have six digits and follow the highest in the folder, so that it sorts the same by name and
by version. Two branches that create one at the same time get the same number under different names:
reading the folder is an error then, before anything runs.
"""

import re
from pathlib import Path

from paceline.errors import ValidationError
from paceline.postgres.migrate.source import Direction, read_source

_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")
_DIGITS = 6


def create_migration(folder: Path, name: str) -> tuple[Path, Path]:
    """Create ``NNNNNN_name.up.sql`` and ``.down.sql`` in ``folder``; returns their paths.

    Errors: `ValidationError` for a name that is not lower case letters, digits and underscores,
    or a folder whose numbers are used up; `SourceError` for a folder with duplicates in it.
    """
    if not _NAME.fullmatch(name):
        raise ValidationError(
            "name",
            f"{name!r} does not do for a migration: lower case letters, digits and underscores,"
            " a letter first, at most 80",
        )
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{_next_number(folder)}_{name}"
    up, down = (folder / f"{stem}.{direction}.sql" for direction in (Direction.UP, Direction.DOWN))
    _create(up, "-- Sent to the server whole, as one transaction.\n")
    _create(down, f"-- Undoes {up.name}.\n")
    return up, down


def _next_number(folder: Path) -> str:
    versions = read_source(folder).versions
    number = f"{versions[-1] + 1 if versions else 1:0{_DIGITS}d}"
    if len(number) > _DIGITS:
        raise ValidationError(
            "name", f"the next number, {number}, has more than {_DIGITS} digits: name the files"
        )
    return number


def _create(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
