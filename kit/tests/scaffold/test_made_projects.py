"""Projects as people get them: they lint, their types are right, their tests pass, they run.

Their environments borrow the packages of this one. The type checker's cache is shared, since most
of what it looks at is the same in all.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_projects import MadeProject, make_project, run

pytestmark = [pytest.mark.scaffold, pytest.mark.timeout(1800)]

RUNS = "tests/e2e/test_run.py::test_what_it_prints_works_as_pasted_and_the_data_stays"


@dataclass(frozen=True)
class Made:
    name: str
    options: tuple[str, ...]
    tests: tuple[str, ...]


@pytest.mark.parametrize("made", [
    Made("shop", (), ("tests/unit", "tests/contract")),
    Made("shop-floor", ("--full",), ("tests/unit",)),
    Made("price-list", ("--without", "grpc,nats,redis", "--resource", "invoice"), ("tests/unit", "tests/contract", "tests/integration")),
], ids=lambda made: made.name)  # fmt: skip
def test_a_made_project_lints_passes_its_tests_and_runs(
    made: Made, tmp_path: Path, types: Path
) -> None:
    project = make_project(tmp_path, made.name, *made.options)
    project.module("ruff", "check", ".")
    project.module("ruff", "format", "--check", ".")
    with ThreadPoolExecutor(2) as both:  # one of them waits for servers most of the time
        checked = both.submit(project.module, "mypy", "--cache-dir", str(types))
        tested = both.submit(
            project.module, "pytest", "-q", "-p", "no:cacheprovider", *made.tests, RUNS
        )
        checked.result()
        tested.result()
    project.lint_imports()
    check_it_is_current(project)


def check_it_is_current(project: MadeProject) -> None:
    """`paceline update` finds nothing to do."""
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
    run(["git", "add", "--all"], project.root)
    run(["git", *who, "commit", "--quiet", "--allow-empty", "--message", "x"], project.root)
    assert project.module("paceline.scaffold", "update").startswith("0 files changed")
    assert run(["git", "status", "--porcelain"], project.root) == ""


def test_the_editors_files_are_json(tmp_path: Path) -> None:
    project = make_project(tmp_path, "desk", "--no-git")
    for path in (project.root / ".vscode").iterdir():
        json.loads(path.read_text())
