"""Flame graphs: every stack has its width, and whatever a name is, the picture is well-formed."""

from html import unescape
from re import findall

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.commands.admin.flame import flame_graph, folded

STACKS = st.dictionaries(
    st.lists(st.text(min_size=1, max_size=8), max_size=4).map(tuple),
    st.integers(0, 10**7),
    max_size=6,
)


def test_a_frame_is_as_wide_as_what_it_cost() -> None:
    picture = flame_graph({("main", "a"): 3_000, ("main", "b"): 1_000}, title="T")
    boxes = dict(findall(r"<title>([^<]*)</title><rect [^>]* width=\"([0-9.]+)\"", picture))
    assert boxes == {
        "all: 4.0 ms, 100.0 %": "1200.0",
        "main: 4.0 ms, 100.0 %": "1200.0",
        "a: 3.0 ms, 75.0 %": "900.0",
        "b: 1.0 ms, 25.0 %": "300.0",
    }


def test_folded_stacks_are_told_the_most_costly_first() -> None:
    assert folded({("a", "b"): 1, ("a",): 7}) == "a 7\na;b 1\n"


@pytest.mark.parametrize("stacks", [{}, {("idle",): 0}])
def test_a_profile_of_nothing_is_a_picture_too(stacks: dict[tuple[str, ...], int]) -> None:
    assert flame_graph(stacks, title="Nothing").endswith("</svg>\n")


@given(STACKS, st.text(max_size=8))
def test_no_name_can_break_out_of_the_picture(
    stacks: dict[tuple[str, ...], int], title: str
) -> None:
    picture = flame_graph(stacks, title=title)
    tags = findall(r"<(/?)(\w+)", picture)
    opened = [name for end, name in tags if not end]
    assert set(opened) <= {"svg", "rect", "text", "g", "title"}
    assert picture.count("<") == len(tags)
    whole = max(1, sum(stacks.values()))
    wide = {name for stack, cost in stacks.items() for name in stack if cost / whole > 0.01}
    names = {
        unescape(each).rpartition(": ")[0] for each in findall(r"<title>([^<]*)</title>", picture)
    }
    assert wide <= names
