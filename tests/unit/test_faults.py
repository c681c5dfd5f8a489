"""The table of faults: each row has trials that are there, and its place on the page."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest
from fault_rows import ROWS, Row
from faults import PAGE, ROOT, Outcome, chosen_rows, page, trial_of, verdict_of

LEAST = 95


def names_of(file: Path) -> set[str]:
    """The names of its tests, those of classes behind the class's."""
    tree = ast.parse(file.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in tree.body if isinstance(node, functions)}
    for group in tree.body:
        if isinstance(group, ast.ClassDef):
            names = [node.name for node in group.body if isinstance(node, functions)]
            found |= {f"{group.name}::{name}" for name in names}
    return found


def test_each_row_has_a_name_of_its_own() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS) >= LEAST


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_has_trials_that_exist_or_says_why_there_are_none(row: Row) -> None:
    assert row.trials or row.open
    for trial in row.trials:
        file, _, name = trial.partition("::")
        assert (ROOT / file).is_file(), file
        assert name in names_of(ROOT / file), name


def test_the_page_has_every_row_and_no_other() -> None:
    text = PAGE.read_text()
    for row in ROWS:
        assert f"| {row.fault} | {row.promise} |" in text, row.id
    assert text.count("\n| ") == page(
        {trial: Outcome() for row in ROWS for trial in row.trials}
    ).count("\n| ")


ROW = Row("a", "a fault", "a promise", ("f::one", "f::two"))
OPEN = Row("b", "a fault", "a promise", open="nobody has tried")
CASES: Mapping[str, tuple[Row, Outcome, Outcome, tuple[str, str, bool]]] = {
    "all passed": (ROW, Outcome(passed=2), Outcome(passed=1), ("3 tests", "yes", False)),
    "figures": (ROW, Outcome(passed=1, figures=["5 ms"]), Outcome(passed=1), ("5 ms", "yes", False)),
    "one failed": (ROW, Outcome(passed=1), Outcome(failed=1), ("1 test", "no", True)),
    "one skipped": (ROW, Outcome(passed=1), Outcome(skipped=["no Java"]),
                    ("1 test", "yes; in part not tried: no Java", False)),
    "all skipped": (ROW, Outcome(skipped=["no root"]), Outcome(skipped=["no root"]),
                    ("", "not tried: no root", False)),
    "nothing ran": (ROW, Outcome(), Outcome(), ("", "not tried: no test ran", True)),
    "open": (OPEN, Outcome(), Outcome(), ("", "no: nobody has tried", False)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_row_holds_when_each_of_its_trials_passed(
    case: tuple[Row, Outcome, Outcome, tuple[str, str, bool]],
) -> None:
    row, one, two, expected = case
    found = verdict_of(row, {"f::one": one, "f::two": two})
    assert (found.figure, found.holds, found.failed) == expected


def test_a_trial_is_a_test_without_its_parameters() -> None:
    assert trial_of("a/test_b.py::test_c[1-[x]]") == "a/test_b.py::test_c"


def test_rows_are_chosen_by_name_or_group() -> None:
    assert [row.id for row in chosen_rows(["serve-killed"])] == ["serve-killed"]
    assert len(list(chosen_rows(["Time", "serve-killed"]))) > 1
    with pytest.raises(SystemExit, match="--list"):
        list(chosen_rows(["nothing"]))
