"""Bars and charts as text.

Only characters that every UTF-8 terminal has: eighths of a block. The caller gives the size.
"""

from collections.abc import Sequence
from math import floor, log10
from typing import Final

from paceline.commands.top.text import Line, Span, Style

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_ROUND: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)


def bar(value: float, most: float, width: int) -> str:
    """A horizontal bar, ``width`` characters long for ``most``; something that is there shows."""
    if value <= 0 or most <= 0 or width <= 0:
        return ""
    eighths = max(round(min(value / most, 1.0) * width * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def round_up(value: float) -> float:
    """The next number that an axis can end with."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in _ROUND if step * power >= value * (1 - 1e-9))


def chart(
    stacks: Sequence[Sequence[float]], styles: Sequence[Style], *, top: float, width: int, rows: int
) -> list[Line]:
    """The last ``width`` stacks as columns, the newest on the right; ``top`` is full height.

    A stack has a value for each style, the lowest first, and what is there takes an eighth of a
    cell at least, so a few failures among many requests are seen. A cell has two styles at most:
    the lowest and the highest in it.
    """
    shown = stacks[-width:] if width > 0 else ()
    columns = [_column(stack, styles, top, rows) for stack in shown]
    blank = [Span(" " * (width - len(columns)))]
    return [(*blank, *(column[row] for column in columns)) for row in reversed(range(rows))]


def _column(stack: Sequence[float], styles: Sequence[Style], top: float, rows: int) -> list[Span]:
    """The cells of one stack, from the lowest."""
    heights: list[int] = []
    reached, total = 0, 0.0
    for value in stack:
        total += max(value, 0.0)
        reached = max(
            round(min(total / top, 1.0) * rows * 8), reached + 1 if value > 0 else reached
        )
        heights.append(min(reached, rows * 8))
    return [_cell(heights, styles, row * 8) for row in range(rows)]


def _cell(heights: Sequence[int], styles: Sequence[Style], base: int) -> Span:
    """The cell from ``base`` on; ``heights`` in eighths, from the lowest."""
    filled = min(max(max(heights, default=0) - base, 0), 8)
    if not filled:
        return Span(" ")
    by_height = [*zip(heights, styles, strict=True)]
    highest = next(style for height, style in by_height if height >= base + filled)
    end, lowest = next((height, style) for height, style in by_height if height > base)
    if filled < 8 or end - base >= filled:  # noqa: PLR2004 - above the highest there is nothing
        return Span(_LEVELS[filled], highest)
    return Span(_LEVELS[end - base], lowest, highest)
