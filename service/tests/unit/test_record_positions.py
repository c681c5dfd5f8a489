"""Positions in the stream: opaque, exact, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myservice.domain.record_updates import END_OF_SEQ, Position
from myservice.service.record_updates import decode_position, encode_position
from paceline.errors import ValidationError

numbers = st.integers(0, END_OF_SEQ)


@given(numbers, numbers)
def test_a_position_survives_its_text(settled: int, seq: int) -> None:
    text = encode_position(Position(settled, seq))
    assert decode_position(text) == (settled, seq)
    assert len(text) == 28


@given(st.one_of(st.text(max_size=40), st.from_regex(r"\A[A-Za-z0-9_-]{28}\Z")))
def test_what_was_never_given_out_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="not a position of this stream"):
        decode_position(text)


@given(numbers, numbers, st.integers(0, 27), st.sampled_from("AZaz09-_"))
def test_a_text_with_one_wrong_character_is_refused(
    settled: int, seq: int, at: int, other: str
) -> None:
    text = encode_position(Position(settled, seq))
    changed = text[:at] + other + text[at + 1 :]
    if changed != text:
        with pytest.raises(ValidationError):
            decode_position(changed)
