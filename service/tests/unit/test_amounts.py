"""Amounts as people write them: a table of what is accepted, and everything else refused."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myservice.domain.accounts import MAX_AMOUNT, parse_amount
from paceline.errors import ValidationError


@dataclass(frozen=True)
class Case:
    id: str
    text: str
    want: int | None


CASES = [
    Case("valid integer", "100", 100),
    Case("valid with cents", "99.99", 9999),
    Case("zero", "0", 0),
    Case("negative", "-50", None),
    Case("invalid", "abc", None),
    Case("empty", "", None),
    Case("zero with cents", "0.00", 0),
    Case("one cent", "0.01", 1),
    Case("the largest", str(MAX_AMOUNT), MAX_AMOUNT),
    Case("one more than the largest", str(MAX_AMOUNT + 1), None),
    Case("far too large", "9" * 30, None),
    Case("one digit after the point", "1.5", None),
    Case("three digits after the point", "1.005", None),
    Case("nothing before the point", ".50", None),
    Case("nothing after the point", "1.", None),
    Case("a sign", "+1", None),
    Case("a blank", " 1", None),
    Case("a line end", "1\n", None),
    Case("an exponent", "1e2", None),
    Case("a comma", "1,00", None),
    Case("digits of another script", "١٠٠", None),
    Case("an underscore", "1_000", None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_parse_amount(case: Case) -> None:
    if case.want is None:
        with pytest.raises(ValidationError) as caught:
            parse_amount(case.text)
        assert caught.value.field == "amount"
    else:
        assert parse_amount(case.text) == case.want


@given(st.integers(0, 10**14 - 1), st.integers(0, 99))
def test_major_and_minor_units_add_up(major: int, minor: int) -> None:
    amount = major * 100 + minor
    if amount <= MAX_AMOUNT:
        assert parse_amount(f"{major}.{minor:02}") == amount


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_a_validation_error(text: str) -> None:
    try:
        amount = parse_amount(text)
    except ValidationError:
        return
    assert 0 <= amount <= MAX_AMOUNT
    assert text.replace(".", "").isdecimal()
