"""The site's navigation has every page of docs/ once, and no page that is not there."""

import re
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAV = tomllib.loads((DOCS / "nav.toml").read_text())["section"]
DECISION = re.compile(r"decisions/\d{4}-")
GROUPS = ["Start", "Guides", "Pattern book", "Reference", "Measured", "Project"]


def test_every_page_is_in_the_navigation_once() -> None:
    listed = Counter(page for section in NAV for page in section["pages"])
    assert [page for page, times in listed.items() if times > 1] == []
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"index.md"}
    # Decisions are listed by their own page, which another test compares.
    assert {*listed} == {page for page in pages if not DECISION.match(page)}


def test_the_groups_are_in_the_order_in_which_they_are_needed() -> None:
    assert [section["title"] for section in NAV] == GROUPS


def test_every_page_has_one_title() -> None:
    for path in DOCS.rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, path
