"""The files of changelog.d have names and texts that towncrier takes; it passes over others."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOWNCRIER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
FOLDER = ROOT / TOWNCRIER["directory"]
TYPES = [each["directory"] for each in TOWNCRIER["type"]]
NAME = re.compile(rf"(\d+|\+[a-z0-9]+(-[a-z0-9]+)*)\.({'|'.join(TYPES)})\.md")
FRAGMENTS = sorted(path for path in FOLDER.iterdir() if path.name != "README.md")


def mistakes(name: str, text: str) -> list[str]:
    found: list[str] = []
    if not NAME.fullmatch(name):
        found.append("its name is no NUMBER.TYPE.md or +a-few-words.TYPE.md")
    if not text.strip():
        found.append("it is empty")
    if re.match(r"\s*[-*#] ", text):
        found.append("it begins with a bullet or a heading, which towncrier adds")
    return found


@dataclass(frozen=True)
class Row:
    name: str
    right: bool
    text: str = "A sentence.\n"

    def __str__(self) -> str:
        return f"{self.name}-{'right' if self.right else 'wrong'}"


ROWS = [
    Row("12.fixed.md", right=True),
    Row("+a-few-words.security.md", right=True),
    Row("words.added.md", right=False),  # towncrier takes the word for an issue
    Row("+words.bugfix.md", right=False),
    Row("+words.md", right=False),
    Row("+Words.added.md", right=False),
    Row("+words.added.txt", right=False),
    Row("1.added.md", right=False, text="\n"),
    Row("2.added.md", right=False, text="- A sentence.\n"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_name_has_a_number_or_words_and_a_known_type(row: Row) -> None:
    assert bool(mistakes(row.name, row.text)) is not row.right


def test_every_change_to_be_told_has_a_right_name_and_a_text() -> None:
    wrong = {path.name: mistakes(path.name, path.read_text()) for path in FRAGMENTS}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_the_changelog_has_the_place_where_they_are_written() -> None:
    assert (ROOT / TOWNCRIER["filename"]).read_text().count(TOWNCRIER["start_string"]) == 1


def test_contributors_are_told_every_type() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text().partition("## Tell what changed")[2]
    assert [name for name in TYPES if f"`{name}`" not in told.partition("\n## ")[0]] == []
