"""Flame graphs: every stack has its width, and whatever a name is, the picture is well-formed."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from re import findall, search
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.commands.admin.flame import flame_graph, flame_policy, folded
from paceline.commands.admin.profile import Cost, Profile

SVG = "{http://www.w3.org/2000/svg}"
STACKS = st.dictionaries(
    st.lists(st.text(min_size=1, max_size=8), max_size=4).map(tuple),
    st.integers(0, 10**7),
    max_size=6,
)


def profile(stacks: dict[tuple[str, ...], int]) -> Profile:
    return Profile({stack: Cost(weight, 1) for stack, weight in stacks.items()})


def titles(picture: str) -> list[str]:
    tree = ET.fromstring(picture)  # noqa: S314 - our own
    return [str(one.text) for one in tree.iter(f"{SVG}title")]


def test_a_frame_is_as_wide_as_what_it_cost() -> None:
    picture = flame_graph(profile({("main", "a"): 3_000, ("main", "b"): 1_000}), title="T")
    boxes = dict(findall(r"<title>([^<]*)</title><rect [^>]* width=\"([0-9.]+)\"", picture))
    assert boxes == {
        "event loop: 100.0 %, 4.0 ms, 2 samples": "1199.5",
        "main: 100.0 %, 4.0 ms, 2 samples": "1199.5",
        "a: 75.0 %, 3.0 ms, 1 sample": "899.5",
        "b: 25.0 %, 1.0 ms, 1 sample": "299.5",
    }


@dataclass(frozen=True)
class Rooted:
    id: str
    stack: tuple[str, ...]
    shown: tuple[str, ...]


ROOTED = [
    Rooted(
        "asyncio",
        ("__main__.<module>", "asyncio.runners.run", "asyncio.runners.Runner.run",
         "asyncio.base_events.BaseEventLoop.run_until_complete", "asyncio.base_events.BaseEventLoop.run_forever",
         "asyncio.base_events.BaseEventLoop._run_once", "asyncio.events.Handle._run", "app.serve", "app.work"),
        ("app.serve", "app.work"),
    ),
    Rooted("uvloop has no frames", ("click.main", "asyncio.runners.Runner.run", "app.serve"), ("app.serve",)),
    Rooted("the loop itself", ("main", "asyncio.base_events.BaseEventLoop._run_once"), ()),
    Rooted(
        "a loop inside", ("asyncio.runners.run", "app.serve", "asyncio.runners.run", "app.inner"),
        ("app.serve", "asyncio.runners.run", "app.inner"),
    ),
    Rooted("no loop", ("app.start", "app.read"), ("app.start", "app.read")),
]  # fmt: skip


@pytest.mark.parametrize("case", ROOTED, ids=lambda case: case.id)
def test_what_called_the_event_loop_is_left_out(case: Rooted) -> None:
    found = profile({case.stack: 7})
    assert folded(found) == ";".join(("event loop", *case.shown)) + " 7\n"
    assert [each.partition(":")[0] for each in titles(flame_graph(found, title=""))] == [
        "event loop", *case.shown
    ]  # fmt: skip


def test_folded_stacks_are_told_the_most_costly_first() -> None:
    assert folded(profile({("a", "b"): 1, ("a",): 7})) == "event loop;a 7\nevent loop;a;b 1\n"


def test_a_colour_says_whose_code_it_is() -> None:
    names = ("shop.main.get", "paceline.http.app.run", "asyncpg.fetch", "json.dumps")
    picture = flame_graph(profile({names: 5}), title="", package="shop")
    origins = findall(r'class="frame (\w+)"[^>]* data-name="([^"]*)"', picture)
    assert [(name, origin) for origin, name in origins] == [
        ("event loop", "root"), ("shop.main.get", "service"), ("paceline.http.app.run", "kit"),
        ("asyncpg.fetch", "library"), ("json.dumps", "python"),
    ]  # fmt: skip


def test_the_policy_allows_the_script_of_the_picture_and_no_other() -> None:
    script = search(
        r"<script><!\[CDATA\[(.*)\]\]></script>", flame_graph(profile({}), title=""), 16
    )
    assert script is not None
    digest = b64encode(sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in flame_policy()
    assert "default-src 'none'" in flame_policy()


@pytest.mark.parametrize("stacks", [{}, {("idle",): 0}])
def test_a_profile_of_nothing_is_a_picture_too(stacks: dict[tuple[str, ...], int]) -> None:
    assert flame_graph(profile(stacks), title="Nothing").endswith("</svg>\n")


@given(STACKS, st.text(max_size=8))
def test_no_name_can_break_out_of_the_picture(
    stacks: dict[tuple[str, ...], int], title: str
) -> None:
    picture = flame_graph(profile(stacks), title=title)
    kinds = {each.tag.removeprefix(SVG) for each in ET.fromstring(picture).iter()}  # noqa: S314 - our own
    assert kinds <= {"svg", "style", "rect", "text", "g", "title", "script"}
    whole = max(1, sum(stacks.values()))
    wide = {name for stack, cost in stacks.items() for name in stack if cost / whole > 0.01}
    shown = {"".join(sign if sign.isprintable() else "\ufffd" for sign in name) for name in wide}
    assert shown <= {each.rpartition(": ")[0] for each in titles(picture)}
