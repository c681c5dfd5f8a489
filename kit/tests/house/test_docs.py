"""What the docs name is there: files, modules, names, links, and all rooms in each list of rooms.

CHANGELOG.md is not checked for names, since it tells of those that are gone.
"""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KIT = ROOT / "kit/src/paceline"
DOCS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "kit/README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
# Where the path of a file may begin; a name without a folder may be anywhere in the sources.
STARTS = [
    ROOT, ROOT / "kit/src", KIT, ROOT / "service", ROOT / "service/src/myservice",
    ROOT / "service/tests",
]  # fmt: skip
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w/.-]*\w\.(?:py|js|toml|in)|[\w.-]+/(?:[\w.-]+/)*")
DOTTED = re.compile(r"paceline(?:\.\w+)+")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
ATTRIBUTES = {"paceline.batch.items"}  # of spans: they look like names of the kit
SCREEN = 24


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(path: Path) -> Iterator[str]:
    """The inline code of a page; blocks are examples."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    yield from CODE.findall(text)


def is_there(name: str, page: Path) -> bool:
    if any((start / name).exists() for start in [*STARTS, page.parent]):
        return True
    sources = [ROOT / "kit", ROOT / "service"]
    return "/" not in name and any(next(each.rglob(name), None) for each in sources)


def can_be_named(dotted: str) -> bool:
    """Whether it is a module, or a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_the_files_and_folders_that_a_page_names_are_there(page: Path) -> None:
    named = [text for text in code_of(page) if FILE.fullmatch(text)]
    assert [text for text in named if not is_there(text, page)] == []


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_the_modules_and_names_of_the_kit_that_a_page_names_are_there(page: Path) -> None:
    named = {text for text in code_of(page) if DOTTED.fullmatch(text)} - ATTRIBUTES
    assert [text for text in sorted(named) if not can_be_named(text)] == []


@pytest.mark.parametrize("page", [*DOCS, ROOT / "CHANGELOG.md"], ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def list_of_rooms(page: Path) -> list[str]:
    """The lines of the page's table of rooms."""
    return page.read_text().split("| `paceline.` |")[1].split("\n\n")[0].splitlines()


def test_the_list_of_rooms_names_all_and_fits_on_one_screen() -> None:
    lines = list_of_rooms(ROOT / "docs/tour.md")
    assert len(lines) <= SCREEN
    listed = {room for line in lines[2:] for room in CODE.findall(line.split("|")[1])}
    rooms = {path.parent.name for path in KIT.glob("*/__init__.py")}
    rooms |= {path.stem for path in KIT.glob("*.py") if not path.stem.startswith("_")}
    assert listed == rooms


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    pages = {path.name for path in folder.glob("[0-9]*.md")}
    assert set(LINK.findall((folder / "README.md").read_text())) == pages
