"""From one version to another: golang-migrate's rules, as a table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.postgres.migrate import (
    Direction,
    MigrationFile,
    MigrationSource,
    SourceError,
    UnknownVersion,
)
from paceline.postgres.migrate.plan import Plan, plan_down, plan_goto, plan_up


def source_of(*names: str) -> MigrationSource:
    files: list[MigrationFile] = []
    for name in names:
        version, direction = int(name[:-1]), {"u": Direction.UP, "d": Direction.DOWN}[name[-1]]
        files.append(MigrationFile(version, "x", direction, Path(name)))
    return MigrationSource(files, location="here")


PAIRS = source_of("1u", "1d", "3u", "3d", "7u", "7d")


def up(at: int | None, limit: int | None = None) -> Callable[[MigrationSource], Plan]:
    return lambda source: plan_up(source, at, limit)


def down(at: int | None, limit: int | None = None) -> Callable[[MigrationSource], Plan]:
    return lambda source: plan_down(source, at, limit)


def goto(at: int | None, target: int) -> Callable[[MigrationSource], Plan]:
    return lambda source: plan_goto(source, at, target)


@dataclass(frozen=True)
class Case:
    id: str
    make: Callable[[MigrationSource], Plan]
    steps: str
    missing: int = 0


CASES = [
    Case("up from nothing", up(None), "1u=1 3u=3 7u=7"),
    Case("up from the middle", up(3), "7u=7"),
    Case("up when current", up(7), ""),
    Case("up by some", up(None, 2), "1u=1 3u=3"),
    Case("up by none", up(None, 0), ""),
    Case("up by more than there are", up(3, 5), "7u=7", missing=4),
    Case("up by one when current", up(7, 1), "", missing=1),
    Case("down by one", down(7, 1), "7d=3"),
    Case("down by some", down(7, 2), "7d=3 3d=1"),
    Case("down all", down(7), "7d=3 3d=1 1d=None"),
    Case("down by all of them, counted", down(3, 2), "3d=1 1d=None"),
    Case("down by more than there are", down(3, 5), "3d=1 1d=None", missing=3),
    Case("down all from nothing", down(None), ""),
    Case("down by one from nothing", down(None, 1), "", missing=1),
    Case("down by none", down(7, 0), ""),
    Case("goto up", goto(1, 7), "3u=3 7u=7"),
    Case("goto up from nothing", goto(None, 3), "1u=1 3u=3"),
    Case("goto down", goto(7, 1), "7d=3 3d=1"),
    Case("goto where it is", goto(3, 3), ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_plan_has_golang_migrates_steps(case: Case) -> None:
    plan = case.make(PAIRS)
    steps = " ".join(f"{s.file.version}{s.file.direction[0]}={s.target}" for s in plan.steps)
    assert (steps, plan.missing) == (case.steps, case.missing)


UNKNOWN = {
    "up from an unknown version": up(2),
    "down from an unknown version": down(2),
    "goto from an unknown version": goto(2, 3),
    "goto an unknown version": goto(1, 2),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_a_version_without_a_file_stops_the_plan(make: Callable[[MigrationSource], Plan]) -> None:
    with pytest.raises(UnknownVersion, match="no migration found for version 000002"):
        make(PAIRS)


def test_up_needs_migrations() -> None:
    with pytest.raises(SourceError, match="no migrations in here"):
        plan_up(source_of(), None)


def test_a_missing_down_file_fails_only_a_plan_that_needs_it() -> None:
    source = source_of("1u", "2u", "2d")
    assert len(plan_up(source, None).steps) == 2
    assert len(plan_down(source, 2, 1).steps) == 1
    assert len(plan_goto(source, 2, 1).steps) == 1
    with pytest.raises(SourceError, match="migration 000001 has no down file"):
        plan_down(source, 2)


def test_a_missing_up_file_fails_only_a_plan_that_needs_it() -> None:
    source = source_of("1u", "1d", "2d")
    assert len(plan_up(source, None, 1).steps) == 1
    with pytest.raises(SourceError, match="migration 000002 has no up file"):
        plan_up(source, None)


def test_a_step_reads_as_golang_migrate_prints_it() -> None:
    (step,) = plan_down(PAIRS, 1).steps
    assert str(step) == "000001/d x"
