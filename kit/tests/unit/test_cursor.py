"""The cursor: it comes back as it went, and nothing else is taken for one."""

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paceline.cursor import decode_cursor, encode_cursor
from paceline.errors import ValidationError

ids = st.uuids()
prefixes = st.text(max_size=20)


@given(ids, prefixes)
def test_a_cursor_continues_the_listing_it_came_from(last: UUID, prefix: str) -> None:
    cursor = encode_cursor(last, prefix)
    assert decode_cursor(cursor, prefix) == last
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(ids, prefixes, prefixes)
def test_a_cursor_of_another_filter_is_refused(last: UUID, one: str, other: str) -> None:
    if one != other:
        with pytest.raises(ValidationError):
            decode_cursor(encode_cursor(last, one), other)


@example(UUID("377e6ff8-8e83-5961-2e84-3b2c7e96ba87"), 3, "+")  # base64's other alphabet
@given(ids, st.integers(0, 27), st.characters(codec="ascii"))
def test_a_changed_cursor_is_refused(last: UUID, position: int, character: str) -> None:
    cursor = encode_cursor(last, "")
    changed = cursor[:position] + character + cursor[position + 1 :]
    if changed != cursor:
        with pytest.raises(ValidationError):
            decode_cursor(changed, "")


@given(st.text(max_size=60) | st.just("=" * 28))
def test_what_we_never_gave_out_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError):
        decode_cursor(cursor, "")
