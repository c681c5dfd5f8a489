"""Figures fit their columns, and what is there is seen."""

from dataclasses import dataclass

import pytest

from paceline.commands.top.draw import bar, sparkline
from paceline.commands.units import duration, number, size


@dataclass(frozen=True)
class Shown:
    id: str
    got: str
    want: str


CASES = [
    Shown("a full bar", bar(8, 8, 4), "████"),
    Shown("half a character", bar(1, 8, 4), "▌"),
    Shown("whole characters have no rest", bar(4, 8, 4), "██"),
    Shown("the smallest thing shows", bar(1, 1_000_000, 10), "▏"),
    Shown("more than all is all", bar(9, 8, 2), "██"),
    Shown("nothing", bar(0, 8, 4), ""),
    Shown("nothing of nothing", bar(0, 0, 4), ""),
    Shown("a rising line", sparkline([0, 1, 2, 3.5, 7], 5), "▁▂▃▅█"),
    Shown("the last ones of a long line", sparkline([9, 9, 0, 7], 2), "▁█"),
    Shown("a line of nothing", sparkline([0, 0], 5), "▁▁"),
    Shown("no width", sparkline([1, 2], 0), ""),
    Shown("microseconds", duration(0.000085), "85 µs"),
    Shown("milliseconds", duration(0.00125), "1.25 ms"),
    Shown("seconds", duration(12.5), "12.5 s"),
    Shown("minutes", duration(200), "3 min 20 s"),
    Shown("no time", duration(0), "0 µs"),
    Shown("thousands", number(12345.6), "12,346"),
    Shown("a fraction", number(0.256), "0.26"),
    Shown("a whole number", number(7), "7"),
    Shown("bytes", size(512), "512 B"),
    Shown("mebibytes", size(3.5 * 1024 * 1024), "3.50 MiB"),
    Shown("gibibytes", size(2048 * 1024**3), "2,048 GiB"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_figure_is_drawn(case: Shown) -> None:
    assert case.got == case.want
