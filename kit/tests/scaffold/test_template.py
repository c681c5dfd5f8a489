"""The template itself: what comes of it with every choice, looked at without running anything."""

import ast
import re
from dataclasses import replace
from itertools import combinations

import pytest

from paceline.scaffold import (
    Choices,
    Marks,
    ResourceName,
    ServiceName,
    rename_service,
    render,
    running_template,
)

TEMPLATE = running_template()
RULES = TEMPLATE.rules
FEATURES = RULES.optional
OWN = Choices(RULES.name, RULES.resource, full=True)
SHOP = ServiceName("shop")
LEFT_OUT = [left for count in range(len(FEATURES) + 1) for left in combinations(FEATURES, count)]


def pared(*without: str, resource: str = "record") -> dict[str, str]:
    """The texts of the project by path."""
    choices = Choices(SHOP, ResourceName.parse(resource), without=without)
    return {path: text.decode() for path, text in render(TEMPLATE, choices).files.items()}


def test_with_everything_and_its_own_name_the_project_is_the_template() -> None:
    assert render(TEMPLATE, OWN).files == TEMPLATE.files


@pytest.mark.parametrize("name", ["shop", "price-list"])
def test_renaming_the_template_there_and_back_is_the_identity(name: str) -> None:
    new = ServiceName(name)
    for path, content in TEMPLATE.files.items():
        for text in (path, content.decode()):
            there = rename_service(text, RULES.name, new)
            assert rename_service(there, new, RULES.name) == text, path
            assert RULES.name.package not in there or "_pb2" in path, path


def test_a_full_project_of_another_name_has_all_files() -> None:
    renamed = render(TEMPLATE, replace(OWN, name=SHOP)).files
    generated = [path for path in TEMPLATE.files if "_pb2" in path]
    assert len(renamed) == len(TEMPLATE.files) - len(generated)


def test_every_mark_names_features_that_there_are() -> None:
    for path, content in TEMPLATE.files.items():
        marks = Marks(path)
        for line in content.decode().splitlines():
            mark = marks.find(line)
            if mark is not None and mark.features is not None:
                assert set(mark.features) <= set(RULES.features), f"{path}: {line}"
                assert mark.features, f"{path}: {line}"


def test_every_rule_for_files_matches_some() -> None:
    from fnmatch import fnmatchcase  # noqa: PLC0415 - as the rules are read

    for globs in RULES.files.values():
        for glob in globs:
            assert any(fnmatchcase(path, glob) for path in TEMPLATE.files), glob


@pytest.mark.parametrize("without", LEFT_OUT, ids=lambda left: "-".join(left) or "nothing")
def test_nothing_that_is_left_out_is_imported_or_named(without: tuple[str, ...]) -> None:
    files = pared(*without)
    modules = {path.removesuffix(".py").replace("/", ".") for path in files if path.endswith(".py")}
    modules = {name.removeprefix("src.").removesuffix(".__init__") for name in modules}
    support = {name.rpartition(".")[2] for name in modules if name.startswith("tests.support.")}
    for path, text in files.items():
        assert "paceline: only" not in text, path
        assert "paceline: }" not in text, path
        if not path.endswith(".py") or "_pb2" in path:
            continue
        names = imported_modules(ast.parse(text))
        missing = {
            name
            for name in names
            if name.startswith("shop.") and name not in modules and "_pb2" not in name
        }
        assert missing == set(), path
        if path.startswith("tests/"):
            ours = names & set(SUPPORT)
            assert ours <= support, path
    for feature in without:
        assert f"paceline[{feature}]" not in files["pyproject.toml"]


SUPPORT = [
    path.rpartition("/")[2].removesuffix(".py")
    for path in TEMPLATE.files
    if path.startswith("tests/support/") and "_pb2" not in path  # which are generated
]


def imported_modules(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


DOMAIN = re.compile(
    r"\b(?:accounts?|ledger|transfers?|import_chunks|record_changes)\b", re.IGNORECASE
)


def test_a_pared_project_does_not_speak_of_what_it_has_not() -> None:
    for path, text in pared().items():
        if path.startswith("requirements/"):
            continue
        assert DOMAIN.findall(text) == [], path


@pytest.mark.parametrize("without", LEFT_OUT, ids=lambda left: "-".join(left) or "nothing")
def test_migrations_are_numbered_from_one_without_gaps(without: tuple[str, ...]) -> None:
    numbers = sorted(
        int(found[1])
        for path in pared(*without)
        if (found := re.search(r"/(\d{6})_\w+\.up\.sql$", path))
    )
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_resource_of_another_name_leaves_no_trace_of_the_first() -> None:
    for path, text in pared(resource="invoice").items():
        traces = re.findall(r"(?<![A-Za-z])[Rr]ecords?(?![a-z])|RECORDS?\b", path + text)
        known = {"k6/records.js"}
        assert set(traces) - known == set(), path


def test_the_template_was_made_by_this_version() -> None:
    assert f'version = "{TEMPLATE.version}"' in TEMPLATE.files["pyproject.toml"].decode()
