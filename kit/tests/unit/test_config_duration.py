"""Durations and sizes as operators write them."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.config import format_duration, format_size, parse_duration, parse_size


@dataclass(frozen=True)
class Case:
    text: str
    seconds: float


# The accepted rows of Go's own table for ParseDuration, less the negative ones.
GO = [
    Case("0", 0),
    Case("+0", 0),
    Case("5s", 5),
    Case("30s", 30),
    Case("1478s", 1478),
    Case("+5s", 5),
    Case("5.0s", 5),
    Case("5.6s", 5.6),
    Case("5.s", 5),
    Case(".5s", 0.5),
    Case("1.0s", 1),
    Case("1.004s", 1.004),
    Case("1.0040s", 1.004),
    Case("100.00100s", 100.001),
    Case("10ns", 10e-9),
    Case("11us", 11e-6),
    Case("12\u00b5s", 12e-6),
    Case("12\u03bcs", 12e-6),
    Case("13ms", 0.013),
    Case("14s", 14),
    Case("15m", 900),
    Case("16h", 57_600),
    Case("3h30m", 12_600),
    Case("10.5s4m", 250.5),
    Case("1m30s", 90),
    Case("1h15m30.918273645s", 4530.918273645),
    Case("2h45m10.5s", 9910.5),
    Case("52763797000ns", 52.763797),
    Case("0.3333333333333333333h", 1200),
    Case("0.9223372036854775807h", 3320.413933267),
    Case("9223372036854775807ns", 9223372036.854775807),
    Case("1s1s", 2),
    Case("24h", 86_400),
]


@pytest.mark.parametrize("case", GO, ids=lambda case: ascii(case.text))
def test_a_duration_is_read_as_go_reads_it(case: Case) -> None:
    assert parse_duration(case.text) == pytest.approx(case.seconds, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["", "3", "15", "-", "s", ".", "-.", ".s", "+.s", "-5s", "+-5s", "1d", "15S", "15 s", " 15s", "15s ",
     "1s,2s", "1.1.1s", "1e3s", "infs", "\u0661s", "\uff11s", "15sec", "1h-5m", "9223372036854775808ns",
     "9223372036855ms", "2562048h", "9" * 5000 + "s", "15s\n", "0x5s", "1_000s"],
    ids=lambda text: ascii(text)[:24],
)  # fmt: skip
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration like"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (15, "15s"), (90, "1m30s"), (86_400, "24h"), (3_605, "1h5s"), (0.3, "300ms"),
     (0.0015, "1.5ms"), (0.000_25, "250us"), (1e-9, "1ns"), (9910.5, "2h45m10.5s")],
    ids=str,
)  # fmt: skip
def test_a_duration_is_formatted_without_zero_parts(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_number_that_is_not_a_duration_is_not_formatted(seconds: float) -> None:
    with pytest.raises(ValueError, match="not negative"):
        format_duration(seconds)


# Up to 2**50 nanoseconds (13 days) a float of seconds has a value for each nanosecond.
@given(st.integers(min_value=0, max_value=2**50))
def test_a_duration_is_formatted_and_parsed_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    text = format_duration(seconds)
    assert round(parse_duration(text) * 1e9) == nanoseconds
    assert format_duration(parse_duration(text)) == text


@given(st.text(alphabet="0123456789.+-hmsnuµ eE_", max_size=12))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds < 2**63 / 1e9 + 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1048576", 2**20), ("1MiB", 2**20), ("512KiB", 2**19), ("10MB", 10**7), ("3 GiB", 3 * 2**30),
     ("7B", 7), ("5kB", 5000)],
)  # fmt: skip
def test_a_size_is_read_in_its_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1.5MiB", "1mb", "1Mb", "1M", "1 MiB ", "9" * 16, "\u0661", "1\n"]
)
def test_any_other_size_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size in bytes like"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_size_is_formatted_and_parsed_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
