"""Figures fit their columns, and what is there is seen."""

from dataclasses import dataclass

import pytest

from paceline.commands.top.draw import bar, chart, round_up
from paceline.commands.top.text import Line, beside, fit, line, plain, shorten
from paceline.commands.units import duration, number, size


@dataclass(frozen=True)
class Shown:
    id: str
    got: str
    want: str


def drawn(values: list[float], width: int, *, rows: int) -> str:
    stacks = [(value,) for value in values]
    return "/".join(map(plain, chart(stacks, ("ok",), top=7, width=width, rows=rows)))


CASES = [
    Shown("a full bar", bar(8, 8, 4), "████"),
    Shown("half a character", bar(1, 8, 4), "▌"),
    Shown("whole characters have no rest", bar(4, 8, 4), "██"),
    Shown("the smallest thing shows", bar(1, 1_000_000, 10), "▏"),
    Shown("more than all is all", bar(9, 8, 2), "██"),
    Shown("nothing", bar(0, 8, 4), ""),
    Shown("nothing of nothing", bar(0, 0, 4), ""),
    Shown("a rising chart", drawn([0, 1, 2, 3.5, 7], 5, rows=1), " ▁▂▄█"),
    Shown("the last ones of a long chart", drawn([9, 9, 0, 7], 2, rows=1), " █"),
    Shown("the newest is on the right", drawn([7], 3, rows=1), "  █"),
    Shown("rows from the top", drawn([7, 3.5, 1.75], 3, rows=2), "█  /██▄"),
    Shown("a chart of nothing", drawn([0, 0], 2, rows=1), "  "),
    Shown("no width", drawn([1, 2], 0, rows=1), ""),
    Shown("an axis of 0", str(round_up(0)), "1.0"),
    Shown("an axis", str(round_up(1234)), "1500.0"),
    Shown("an axis of a round number", str(round_up(200)), "200.0"),
    Shown("an axis of milliseconds", f"{round_up(0.0123):g}", "0.015"),
    Shown("a line that is cut", plain(fit(line("abc", "def"), 5)), "abcd…"),
    Shown("a line that is filled", plain(fit(line("abc"), 5)), "abc  "),
    Shown("no room", plain(fit(line("abc"), 0)), ""),
    Shown(
        "blocks of different heights",
        "/".join(map(plain, beside([line("a")], [line("b"), line("c")], 7, 1))),
        "a   b/    c",
    ),
    Shown("a name that fits", shorten("GET /a/b", 8), "GET /a/b"),
    Shown("a long name", shorten("abcdefghijkl", 6), "…hijkl"),
    Shown("a long path", shorten("GET /a/long/path/{id}", 14), "GET …path/{id}"),
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


def test_a_few_failures_among_many_requests_are_seen() -> None:
    (cells,) = chart([(1000.0, 0.0), (1000.0, 1.0)], ("ok", "server"), top=2000, width=2, rows=1)
    assert [(cell.text, cell.style) for cell in cells if cell.text] == [
        ("▄", "ok"),
        ("▅", "server"),
    ]


def test_a_stack_has_the_colour_of_each_part_at_its_height() -> None:
    lines: list[Line] = chart([(4.0, 4.0)], ("fast", "slow"), top=8, width=1, rows=2)
    assert [each[-1].style for each in lines] == ["slow", "fast"]


def test_a_cell_has_what_is_lowest_in_it_before_what_is_highest() -> None:
    (cells,) = chart([(2.0, 6.0)], ("fast", "slow"), top=8, width=1, rows=1)
    assert cells[-1] == ("▂", "fast", "slow")
