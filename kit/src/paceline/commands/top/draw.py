"""Figures as text: numbers that fit a column, bars, a line of the last values.

Only characters that every UTF-8 terminal has: eighths of a block. Where the terminal is narrow the
drawing is narrow, and nothing here knows colours.
"""

from collections.abc import Sequence
from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LEVELS: Final = "▁▂▃▄▅▆▇█"
_TEN: Final = 10
_HUNDRED: Final = 100
_THOUSAND: Final = 1000
_MINUTE: Final = 60
_KIBI: Final = 1024


def bar(value: float, most: float, width: int) -> str:
    """A horizontal bar, ``width`` characters long for ``most``; something that is there shows."""
    if value <= 0 or most <= 0 or width <= 0:
        return ""
    eighths = max(round(min(value / most, 1.0) * width * 8), 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def sparkline(values: Sequence[float], width: int) -> str:
    """The last ``width`` values, from 0 to their largest."""
    shown = values[-width:] if width > 0 else ()
    most = max(shown, default=0.0)
    if most <= 0:
        return _LEVELS[0] * len(shown)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round(max(value, 0.0) / most * top)] for value in shown)


def duration(seconds: float) -> str:
    """Three figures and the unit: "85 µs", "1.25 ms", "12.5 s", "3 min 20 s"."""
    if seconds >= 2 * _MINUTE:
        return f"{int(seconds) // _MINUTE} min {int(seconds) % _MINUTE} s"
    if seconds >= 1:
        return f"{_three(seconds)} s"
    if seconds >= 1 / _THOUSAND:
        return f"{_three(seconds * 1e3)} ms"
    return f"{seconds * 1e6:.0f} µs"


def number(value: float) -> str:
    """With separators; digits behind the point only where they say something."""
    return f"{value:,.0f}" if value >= _HUNDRED or value == int(value) else _three(value)


def size(count: float) -> str:
    """Bytes for people: "3.1 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if count < _KIBI:
            return f"{number(count)} {unit}"
        count /= _KIBI
    return f"{number(count)} GiB"


def _three(value: float) -> str:
    if value >= _HUNDRED:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= _TEN else f"{value:.2f}"
