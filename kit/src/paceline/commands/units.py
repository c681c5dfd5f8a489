"""Quantities as text for people: durations, counts and sizes, in at most three figures and a unit.

For the terminal's columns, so every text is short. Rejected: one formatter with a parameter for
the unit, because the three disagree on what is rounded.
"""

from typing import Final

_TEN: Final = 10
_HUNDRED: Final = 100
_THOUSAND: Final = 1000
_MINUTE: Final = 60
_KIBI: Final = 1024


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
