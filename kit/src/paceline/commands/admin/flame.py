"""A flame graph as one SVG: width is CPU time, what is above was called by what is below.

After Brendan Gregg's (https://www.brendangregg.com/flamegraphs.html): siblings are sorted by name,
so pictures of two profiles can be compared, and the colour stands for the package. No script:
hovering shows a frame's whole name by SVG's own title. `folded` is the same as text, a stack a
line, for other tools.
"""

from collections.abc import Iterator
from html import escape
from typing import Final
from zlib import crc32

from paceline.commands.admin.profile import Stacks

_WIDTH: Final = 1200.0
_ROW: Final = 17
_HEAD: Final = 40
_NARROWEST: Final = 0.5
_LETTER: Final = 6.6


class _Frame:
    """One function in one place of the tree."""

    __slots__ = ("children", "name", "weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.weight = 0
        self.children: dict[str, _Frame] = {}


def folded(stacks: Stacks) -> str:
    """A line for each stack, the most costly first: functions with ";" between, microseconds."""
    lines = sorted(stacks.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{';'.join(stack)} {weight}\n" for stack, weight in lines)


def flame_graph(stacks: Stacks, *, title: str) -> str:
    """The picture."""
    root = _tree(stacks)
    rows = [*_rows(root, 0.0, 0, _WIDTH / max(1, root.weight))]
    height = _HEAD + _ROW * (1 + max((depth for _, _, depth in rows), default=0))
    boxes = "".join(_box(frame, x, depth, height, root.weight) for frame, x, depth in rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height}" '
        'font-family="monospace" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fdfdf6"/>'
        f'<text x="{_WIDTH / 2:g}" y="20" text-anchor="middle" font-size="14">{escape(title)}'
        f"</text>{boxes}</svg>\n"
    )


def _tree(stacks: Stacks) -> _Frame:
    root = _Frame("all")
    for stack, weight in stacks.items():
        frame = root
        frame.weight += weight
        for name in stack:
            frame = frame.children.setdefault(name, _Frame(name))
            frame.weight += weight
    return root


def _rows(
    frame: _Frame, x: float, depth: int, scale: float
) -> Iterator[tuple[_Frame, tuple[float, float], int]]:
    width = frame.weight * scale
    if width < _NARROWEST:
        return
    yield frame, (x, width), depth
    for name in sorted(frame.children):
        child = frame.children[name]
        yield from _rows(child, x, depth + 1, scale)
        x += child.weight * scale


def _box(frame: _Frame, at: tuple[float, float], depth: int, height: int, whole: int) -> str:
    x, width = at
    y = height - _ROW * (depth + 1)
    share = 100 * frame.weight / max(1, whole)
    name, letters = frame.name, int((width - 6) / _LETTER)
    # The end of a name says more than its beginning.
    shown = name if len(name) <= letters else f"…{name[1 - letters :]}" if letters > 3 else ""  # noqa: PLR2004 - a shorter one cannot be read
    text = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(shown)}</text>' if shown else ""
    return (
        f"<g><title>{escape(name)}: {frame.weight / 1000:.1f} ms, {share:.1f} %</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" rx="2" '
        f'fill="{_colour(name)}"/>{text}</g>'
    )


def _colour(name: str) -> str:
    """One for each package."""
    return f"hsl({crc32(name.partition('.')[0].encode()) % 360},65%,75%)"
