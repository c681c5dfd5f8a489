"""Stored entries: what was encoded is decoded, and anything else is unreadable."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.redis.entry_codec import Entry, EntryCodec, UnreadableEntry


class Thing(msgspec.Struct, frozen=True):
    name: str
    data: msgspec.Raw
    at: datetime


class Grown(msgspec.Struct, frozen=True):
    name: str
    data: msgspec.Raw
    at: datetime
    colour: str = ""


AT = datetime(2026, 11, 24, 12, 0, 0, 123456, UTC)
moments = st.floats(0, 1e11)


@given(name=st.text(), data=st.binary(max_size=50), expires_at=moments, cost=moments)
def test_what_was_encoded_is_decoded(
    name: str, data: bytes, expires_at: float, cost: float
) -> None:
    thing = Thing(name, msgspec.Raw(msgspec.json.encode(data)), AT)
    codec = EntryCodec(Thing)
    entry = codec.decode(codec.encode(Entry(thing, expires_at, cost)))
    assert msgspec.json.encode(entry.value) == msgspec.json.encode(thing)
    assert (entry.expires_at, entry.cost) == (expires_at, cost)


def test_that_there_is_no_value_can_be_stored() -> None:
    codec = EntryCodec(Thing)
    assert codec.decode(codec.encode(Entry(None, 1.0, 0.0))).value is None


def test_an_entry_of_another_schema_is_unreadable() -> None:
    data = EntryCodec(Thing).encode(Entry(Thing("a", msgspec.Raw(b"1"), AT), 1.0, 0.0))
    with pytest.raises(UnreadableEntry):
        EntryCodec(Grown).decode(data)


@given(noise=st.binary(max_size=200))
def test_random_bytes_are_unreadable(noise: bytes) -> None:
    with pytest.raises(UnreadableEntry):
        EntryCodec(Thing).decode(noise)


@given(cut=st.integers(0, 10_000))
def test_a_truncated_entry_is_unreadable(cut: int) -> None:
    codec = EntryCodec(Thing)
    data = codec.encode(Entry(Thing("abc", msgspec.Raw(b'{"a":[1]}'), AT), 1.0, 0.0))
    with pytest.raises(UnreadableEntry):
        codec.decode(data[: cut % len(data)])


def test_a_value_that_is_nested_too_deeply_is_unreadable() -> None:
    codec = EntryCodec(list[msgspec.Raw])
    data = codec.encode(Entry([], 1.0, 0.0))
    with pytest.raises(UnreadableEntry):
        codec.decode(data[:-2] + b"[" * 100_000)
