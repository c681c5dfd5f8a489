"""Which files to run, in which order, to get from one version to another: pure functions.

The rules are golang-migrate's: the database's version must be among the files, a limit larger than
what is left applies what is left and then fails, and a step down ends at the version below it, or
at none. The whole plan is made before anything runs, so a missing file is found before any change.
(golang-migrate skips a missing file and moves the version anyway; here it is an error, because the
schema would no longer be what the version says.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

from paceline.postgres.migrate.errors import SourceError, version_text
from paceline.postgres.migrate.source import Direction, MigrationFile, MigrationSource


@dataclass(frozen=True, slots=True)
class MigrationState:
    """The content of the version table. ``version`` is None when nothing is applied."""

    version: int | None
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One file to run. ``target`` is the version the database is at afterwards."""

    file: MigrationFile
    target: int | None

    def __str__(self) -> str:
        """As golang-migrate prints it, with the version as in the file's name."""
        return f"{version_text(self.file.version)}/{self.file.direction[0]} {self.file.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, in order, and how many of the requested ones are ``missing``."""

    steps: tuple[Step, ...] = ()
    missing: int = 0


def plan_up(source: MigrationSource, current: int | None, limit: int | None = None) -> Plan:
    """Up by ``limit`` migrations, all of them when None.

    Errors: `UnknownVersion` for a ``current`` without a file; `SourceError` for a missing file.
    """
    if limit == 0:
        return Plan()
    if current is not None:
        source.require(current)
    elif not source.versions:
        raise SourceError(
            f"there are no migrations in {source.location}; `migrate new NAME` makes the first,"
            " 000001_NAME.up.sql and .down.sql"
        )
    ahead = [version for version in source.versions if current is None or version > current]
    chosen = ahead[:limit]
    return Plan(_steps_up(source, chosen), 0 if limit is None else limit - len(chosen))


def plan_down(source: MigrationSource, current: int | None, limit: int | None = None) -> Plan:
    """Down by ``limit`` migrations, all of them when None.

    Errors: as `plan_up`.
    """
    if limit == 0:
        return Plan()
    if current is None:
        return Plan(missing=limit or 0)
    source.require(current)
    chosen = _down_from(source, current)[:limit]
    return Plan(_steps_down(source, chosen), 0 if limit is None else limit - len(chosen))


def plan_goto(source: MigrationSource, current: int | None, target: int) -> Plan:
    """Up or down to ``target``.

    Errors: `UnknownVersion` for a ``current`` or a ``target`` without a file; `SourceError` for a
    missing file.
    """
    if current is not None:
        source.require(current)
    source.require(target)
    if current is None or current < target:
        ahead = (v for v in source.versions if v <= target and (current is None or v > current))
        return Plan(_steps_up(source, ahead))
    behind = [version for version in _down_from(source, current) if version > target]
    return Plan(_steps_down(source, behind))


def _down_from(source: MigrationSource, current: int) -> list[int]:
    return [version for version in reversed(source.versions) if version <= current]


def _steps_up(source: MigrationSource, versions: Iterable[int]) -> tuple[Step, ...]:
    return tuple(Step(source.get(version, Direction.UP), version) for version in versions)


def _steps_down(source: MigrationSource, versions: Iterable[int]) -> tuple[Step, ...]:
    below: dict[int, int | None] = dict(
        zip(source.versions, (None, *source.versions), strict=False)
    )
    return tuple(Step(source.get(version, Direction.DOWN), below[version]) for version in versions)
