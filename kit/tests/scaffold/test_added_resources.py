"""What `paceline add` makes, in a project with an environment: it lints, and its tests pass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from made_projects import PACELINE, MadeProject, make_project, run

pytestmark = [pytest.mark.scaffold, pytest.mark.timeout(600)]

EVERY: Final = tuple(
    f"{kind}_{number}:{kind}{mark}"
    for number, mark in enumerate(("", "?"))
    for kind in ("str", "int", "float", "bool", "date", "datetime", "uuid")
)


@dataclass(frozen=True)
class Added:
    name: str
    options: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]


@pytest.mark.parametrize("added", [
    Added("shop", (), (
        ("resource", "sample_item", *EVERY),
        ("resource", "person", "order:str?", "date:date?", "user:int", "--plural", "people", "--no-grpc"),
        ("consumer", "payments", "--subject", "payments.received"),
        ("consumer", "refunds", "--subject", "payments.refunded"),
        ("command", "reindex-all"),
        ("migration", "index_people"),
    )),
    Added("price-list", ("--without", "grpc,nats,redis", "--resource", "price"), (
        ("resource", "invoice", "due:date?", "number:str"),
        ("command", "reindex"),
    )),
], ids=lambda added: added.name)  # fmt: skip
def test_what_was_added_lints_and_its_tests_pass(added: Added, tmp_path: Path, types: Path) -> None:
    project = make_project(tmp_path, added.name, *added.options)
    for words in added.commands:
        run([PACELINE, "add", *words], project.root)
    project.module("ruff", "check", ".")
    project.module("ruff", "format", "--check", ".")
    project.module("mypy", "--cache-dir", str(types))
    project.lint_imports()
    project.module("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *new_tests(project))


def new_tests(project: MadeProject) -> list[str]:
    """Those of what was added, and those that look at the whole service."""
    listed = ["git", "ls-files", "--others", "--exclude-standard", "tests"]
    paths = run(listed, project.root).splitlines()
    added = [path for path in paths if "/test_" in path]
    whole = [
        "tests/unit/test_scopes.py",
        "tests/unit/test_commands.py",
        "tests/integration/test_docs.py",
        "tests/unit/test_protos_fresh.py",
    ]
    return [*added, *(path for path in whole if (project.root / path).is_file())]
