"""A flame graph as one SVG file: width is CPU time, and what is below was called by what is above.

After Brendan Gregg's (https://www.brendangregg.com/flamegraphs.html), with the root on top: the
event loop. What called the loop is the same in every stack and says nothing, so it is left out.
Siblings are sorted by name, so pictures of two profiles can be compared; the colour says whose code
it is. Every frame is drawn here, with its whole name and figures as its title, so the picture is
complete in any viewer; the script in it, for zoom, search and keys, only moves what is there.
`folded` is the same as text, a stack a line, for other tools.
"""

import sys
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Final

from paceline.commands.admin.profile import Profile

ROOT: Final = "event loop"
_KIT: Final = __name__.partition(".")[0]
_LOOP: Final = (
    "asyncio.runners.",
    "asyncio.base_events.BaseEventLoop.run_",
    "asyncio.base_events.BaseEventLoop._run_once",
    "asyncio.unix_events._UnixSelectorEventLoop.run_",
    "asyncio.events.Handle._run",
    "uvloop.",
)
"""How functions begin that run the event loop, or call what it runs."""
_ORIGINS: Final = {
    "service": "service", "kit": _KIT, "library": "libraries", "python": "Python",
}  # fmt: skip

_WIDTH: Final = 1200.0
_ROW: Final = 18
_TITLE, _LEGEND, _TOOLS, _DETAILS, _HEAD = 20, 42, 52, 100, 110
_NARROWEST: Final = 0.0002
"""The share of the whole below which a frame is left out: a hair in any zoom of interest."""
_LETTER: Final = 6.7
_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"


class _Frame:
    """One function in one place of the tree."""

    __slots__ = ("children", "name", "samples", "weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 0
        self.samples = 0
        self.children: dict[str, _Frame] = {}

    def add(self, weight: int, samples: int) -> None:
        self.weight += weight
        self.samples += samples


def folded(profile: Profile) -> str:
    """A line for each stack, the most costly first: functions with ";" between, microseconds."""
    costs: dict[tuple[str, ...], int] = {}
    for stack, cost in profile.stacks.items():
        rooted = _below_loop(stack)
        costs[rooted] = costs.get(rooted, 0) + cost.microseconds
    lines = sorted(costs.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{';'.join((ROOT, *stack))} {cost}\n" for stack, cost in lines)


def flame_graph(profile: Profile, *, title: str, package: str = "") -> str:
    """The picture. ``package``: the service's own, whose functions have their own colour."""
    root = _tree(profile)
    rows = [*_rows(root, 0, 0, root.weight * _NARROWEST)]
    height = _HEAD + _ROW * (1 + max(depth for _, _, depth in rows)) + 6
    boxes = "".join(_box(*row, root.weight, package=package) for row in rows)
    style, script = _part("flame.css"), flame_script()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flame" viewBox="0 0 {_WIDTH:g} {height}" '
        f'data-head="{_HEAD}" data-tools="{_TOOLS}">'
        f"<style><![CDATA[{style}]]></style>"
        f'<rect class="ground" width="100%" height="100%"/>'
        f'<text class="title" x="4" y="{_TITLE}">{_text(title)}</text>{_legend()}'
        f'<text class="hint" x="4" y="{_TOOLS + 20}">In a browser: zoom, search.</text>'
        f'<text class="details" x="4" y="{_DETAILS}"></text>{boxes}'
        f"<script><![CDATA[{script}]]></script></svg>\n"
    )


@cache
def flame_script() -> str:
    """The script that the picture contains."""
    return _part("flame.js")


@cache
def flame_policy() -> str:
    """The content security policy under which a browser shows the picture: its script, no other."""
    digest = b64encode(sha256(flame_script().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


@cache
def _part(name: str) -> str:
    return files("paceline.commands.admin").joinpath("web", name).read_text(encoding="utf-8")


def _below_loop(stack: tuple[str, ...]) -> tuple[str, ...]:
    """What the event loop called; the whole stack when it shows no loop.

    Only the outermost run of the loop's frames is the loop: a service may run another inside.
    """
    for start, name in enumerate(stack):
        if name.startswith(_LOOP):
            end = start
            while end < len(stack) and stack[end].startswith(_LOOP):
                end += 1
            return stack[end:]
    return stack


def _tree(profile: Profile) -> _Frame:
    root = _Frame(ROOT)
    for stack, cost in profile.stacks.items():
        frame = root
        frame.add(*cost)
        for name in _below_loop(stack):
            frame = frame.children.setdefault(name, _Frame(name))
            frame.add(*cost)
    return root


def _rows(frame: _Frame, x: int, depth: int, narrowest: float) -> Iterator[tuple[_Frame, int, int]]:
    """Every frame that is wide enough, with its beginning and depth; parents before children."""
    yield frame, x, depth
    for name in sorted(frame.children):
        child = frame.children[name]
        if child.weight > narrowest:
            yield from _rows(child, x, depth + 1, narrowest)
        x += child.weight


def _box(frame: _Frame, x: int, depth: int, whole: int, *, package: str) -> str:
    scale = _WIDTH / max(1, whole)
    left, width = x * scale, frame.weight * scale
    y = _HEAD + _ROW * depth
    name, letters = _text(frame.name), int((width - 8) / _LETTER)
    facts = (
        f"{100 * frame.weight / max(1, whole):.1f} %, {frame.weight / 1000:.1f} ms, "
        f"{frame.samples} {'sample' if frame.samples == 1 else 'samples'}"
    )
    return (
        f'<g class="frame {_origin(frame.name, package) if depth else "root"}" tabindex="-1" '
        f'data-x="{x}" data-w="{frame.weight}" data-d="{depth}" data-name="{name}" '
        f'data-facts="{facts}"><title>{name}: {facts}</title>'
        f'<rect x="{left:.1f}" y="{y}" width="{max(width - 0.5, 0.5):.1f}" height="{_ROW - 1}" '
        f'rx="2"/><text x="{left + 4:.1f}" y="{y + 13}">{_text(_ending(frame.name, letters))}'
        "</text></g>"
    )


def _ending(name: str, letters: int) -> str:
    """The end of a name says more than its beginning."""
    if len(name) <= letters:
        return name
    return f"…{name[1 - letters :]}" if letters > 3 else ""  # noqa: PLR2004 - a shorter one cannot be read


def _legend() -> str:
    parts: list[str] = []
    x = 4
    for origin, text in _ORIGINS.items():
        parts.append(
            f'<g class="{origin}"><rect x="{x}" y="{_LEGEND - 10}" width="12" height="12" rx="2"/>'
            f'<text x="{x + 17}" y="{_LEGEND}">{text}</text></g>'
        )
        x += 34 + round(len(text) * _LETTER)
    return "".join(parts)


def _origin(name: str, package: str) -> str:
    """Whose code it is, by the package."""
    first = name.partition(".")[0]
    if first == package:
        return "service"
    if first == _KIT:
        return "kit"
    return "python" if first in sys.stdlib_module_names else "library"


def _text(text: str) -> str:
    """Text for an SVG: escaped, without the characters that XML does not have."""
    return escape("".join(sign if sign.isprintable() else _UNPRINTABLE for sign in text))
