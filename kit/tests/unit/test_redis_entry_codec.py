"""Envelopes: what went in comes out, and nothing else ever does."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.redis.entry_codec import Entry, EntryCodec, Unreadable


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
def test_what_was_sealed_is_opened(name: str, data: bytes, expires_at: float, cost: float) -> None:
    thing = Thing(name, msgspec.Raw(msgspec.json.encode(data)), AT)
    sealer = EntryCodec(Thing)
    entry = sealer.open(sealer.seal(Entry(thing, expires_at, cost)))
    assert msgspec.json.encode(entry.value) == msgspec.json.encode(thing)
    assert (entry.expires_at, entry.cost) == (expires_at, cost)


def test_that_there_is_none_can_be_sealed() -> None:
    sealer = EntryCodec(Thing)
    assert sealer.open(sealer.seal(Entry(None, 1.0, 0.0))).value is None


def test_another_release_takes_it_for_unreadable() -> None:
    sealed = EntryCodec(Thing).seal(Entry(Thing("a", msgspec.Raw(b"1"), AT), 1.0, 0.0))
    with pytest.raises(Unreadable):
        EntryCodec(Grown).open(sealed)


@given(noise=st.binary(max_size=200))
def test_noise_is_unreadable(noise: bytes) -> None:
    with pytest.raises(Unreadable):
        EntryCodec(Thing).open(noise)


@given(cut=st.integers(0, 10_000))
def test_a_torn_envelope_is_unreadable(cut: int) -> None:
    sealer = EntryCodec(Thing)
    sealed = sealer.seal(Entry(Thing("abc", msgspec.Raw(b'{"a":[1]}'), AT), 1.0, 0.0))
    with pytest.raises(Unreadable):
        sealer.open(sealed[: cut % len(sealed)])


def test_a_value_that_is_nested_too_deeply_is_unreadable() -> None:
    sealer = EntryCodec(list[msgspec.Raw])
    sealed = sealer.seal(Entry([], 1.0, 0.0))
    with pytest.raises(Unreadable):
        sealer.open(sealed[:-2] + b"[" * 100_000)
