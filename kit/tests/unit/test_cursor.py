"""Cursors: each decodes to the place it was made of, and no other text decodes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paceline.cursor import CursorCodec
from paceline.errors import ValidationError

CURSORS = CursorCodec(16, field="cursor", message="not a cursor of this listing")
places = st.binary(min_size=16, max_size=16)
scopes = st.text(max_size=20)


@given(places, scopes)
def test_a_cursor_continues_the_listing_it_came_from(place: bytes, scope: str) -> None:
    cursor = CURSORS.encode(place, scope=scope)
    assert CURSORS.decode(cursor, scope=scope) == place
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.integers(1, 40).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_a_place_of_any_size_is_encoded_without_padding(place: bytes) -> None:
    cursors = CursorCodec(len(place), field="after", message="no")
    assert cursors.decode(cursors.encode(place)) == place
    assert "=" not in cursors.encode(place)


@given(places, scopes, scopes)
def test_a_cursor_of_another_filter_is_refused(place: bytes, one: str, other: str) -> None:
    if one != other:
        with pytest.raises(ValidationError):
            CURSORS.decode(CURSORS.encode(place, scope=one), scope=other)


# base64's other alphabet
@example(bytes.fromhex("377e6ff88e8359612e843b2c7e96ba87"), 3, "+")
@given(places, st.integers(0, 27), st.characters(codec="ascii"))
def test_a_changed_cursor_is_refused(place: bytes, index: int, character: str) -> None:
    cursor = CURSORS.encode(place)
    changed = cursor[:index] + character + cursor[index + 1 :]
    if changed != cursor:
        with pytest.raises(ValidationError):
            CURSORS.decode(changed)


@given(st.text(max_size=60) | st.just("=" * 28))
def test_a_text_that_is_no_cursor_is_refused_with_the_field_and_the_message(text: str) -> None:
    with pytest.raises(ValidationError, match="not a cursor of this listing") as caught:
        CURSORS.decode(text)
    assert caught.value.field == "cursor"


def test_a_place_of_another_size_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="a place has 16 bytes, not 3"):
        CURSORS.encode(b"abc")
