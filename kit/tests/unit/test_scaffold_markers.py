"""Marked lines: which stay, and that nothing of the marks does."""

from dataclasses import dataclass

import pytest

from paceline.scaffold import ScaffoldError, insert_at_anchor, pare

SOURCE = '''\
"""A module."""

import cache  # paceline: only cache
import base

# paceline: only queue {
QUEUE = "q"
# paceline: only cache {
BOTH = QUEUE
# paceline: }
# paceline: }


def build() -> None:
    start(
        base,
        cache,  # paceline: only cache queue
    )
    # paceline: resources
'''


@dataclass(frozen=True)
class Case:
    id: str
    features: tuple[str, ...]
    kept: tuple[str, ...]
    gone: tuple[str, ...]


@pytest.mark.parametrize("case", [
    Case("none", (), ("import base",), ("import cache", "QUEUE", "BOTH", "        cache,")),
    Case("one", ("queue",), ('QUEUE = "q"',), ("import cache", "BOTH", "        cache,")),
    Case("the other", ("cache",), ("import cache",), ("QUEUE", "BOTH", "        cache,")),
    Case("both", ("cache", "queue"), ("import cache", 'QUEUE = "q"', "BOTH = QUEUE", "        cache,"), ()),
], ids=lambda case: case.id)  # fmt: skip
def test_lines_and_blocks_stay_with_all_of_their_features(case: Case) -> None:
    pared = pare("main.py", SOURCE, case.features)
    lines = pared.splitlines()
    assert all(line in lines for line in case.kept)
    assert not any(text in pared for text in case.gone)
    assert "only" not in pared
    assert "    # paceline: resources" in lines, "anchors stay"
    assert "\n\n\n\n" not in pared


@pytest.mark.parametrize(("path", "marked"), [
    ("a.sql", "SELECT 1; -- paceline: only x"),
    ("a.proto", "int32 n = 1; // paceline: only x"),
    ("a.md", "| a | <!-- paceline: only x -->"),
    ("a.js", "f(); // paceline: only x"),
    ("Makefile", "a: b # paceline: only x"),
    ("a.yaml", "- a # paceline: only x"),
    ("a.toml", '"a",  # paceline: only x'),
])  # fmt: skip
def test_each_type_of_file_has_its_own_comments(path: str, marked: str) -> None:
    text = f"first\n{marked}\nlast\n"
    assert pare(path, text, []) == "first\nlast\n"
    assert pare(path, text, ["x"]).splitlines()[1] == marked.split(" paceline", maxsplit=1)[
        0
    ].rstrip(" #/-<!")


def test_a_block_can_begin_and_end_beside_code() -> None:
    text = "a\ncall(  # paceline: only x {\n    1,\n)  # paceline: }\nb\n"
    assert pare("a.py", text, []) == "a\nb\n"
    assert pare("a.py", text, ["x"]) == "a\ncall(\n    1,\n)\nb\n"


def test_a_file_that_has_no_comments_stays_as_it_is() -> None:
    text = '{"a": "# paceline: only x"}'
    assert pare("a.json", text, []) == text


def test_the_fields_of_a_resource_stay_without_their_marks() -> None:
    text = "class A:\n    # paceline: fields {\n    name: str\n    # paceline: }\n"
    assert pare("a.py", text, []) == "class A:\n    name: str\n"


@pytest.mark.parametrize("text", ["# paceline: only x {\na\n", "a\n# paceline: }\n"])
def test_a_block_without_its_other_end_is_refused(text: str) -> None:
    with pytest.raises(ScaffoldError, match=r"a\.py"):
        pare("a.py", text, [])


def test_lines_are_inserted_above_an_anchor_indented_like_it() -> None:
    text = "def f() -> None:\n    a()\n    # paceline: more\n"
    inserted = insert_at_anchor("a.py", text, "more", ["b(", "    1,", ")", ""])
    assert inserted == (
        "def f() -> None:\n    a()\n    b(\n        1,\n    )\n\n    # paceline: more\n"
    )
    with pytest.raises(ScaffoldError, match="paceline: others"):
        insert_at_anchor("a.py", text, "others", ["b()"])
