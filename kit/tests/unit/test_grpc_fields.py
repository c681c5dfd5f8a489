"""Fields of messages: converted by the rules of a type, or refused by their name."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import ValidationError
from paceline.grpc import (
    convert_field,
    convert_text,
    convert_time,
    convert_uuid,
    timestamp,
    unix_seconds,
)

Short = Annotated[str, msgspec.Meta(max_length=3)]


class Fields(msgspec.Struct, frozen=True):
    name: Short
    labels: dict[Short, Short]


@dataclass(frozen=True)
class Refused:
    id: str
    value: object
    holder: str
    field: str


REFUSED = [
    Refused("a field", {"name": "long", "labels": {}}, "", "name"),
    Refused("a field inside another", {"name": "long", "labels": {}}, "draft", "draft.name"),
    Refused("a key", {"name": "a", "labels": {"long": "a"}}, "", "labels"),
    Refused("a value", {"name": "a", "labels": {"a": "long"}}, "draft", "draft.labels"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_a_value_that_breaks_a_rule_is_refused_by_its_field(case: Refused) -> None:
    with pytest.raises(ValidationError) as caught:
        convert_field(case.value, Fields, case.holder)
    assert caught.value.field == case.field
    assert caught.value.message


def test_values_that_satisfy_the_rules_become_the_struct() -> None:
    assert convert_field({"name": "a", "labels": {"b": "c"}}, Fields) == Fields("a", {"b": "c"})


def test_a_text_is_given_back_or_refused() -> None:
    assert convert_text("abc", Short, "key") == "abc"
    with pytest.raises(ValidationError) as caught:
        convert_text("abcd", Short, "key")
    assert caught.value.field == "key"


@given(st.text())
def test_a_text_is_an_id_or_is_refused(text: str) -> None:
    with suppress(ValidationError):
        assert convert_uuid(text, "id") == UUID(text)


def test_a_moment_becomes_whole_seconds() -> None:
    assert unix_seconds(datetime(1970, 1, 1, 0, 1, 0, 900_000, tzinfo=UTC)) == 60


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_arrives_as_it_was_sent(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        return  # in UTC it is before the year 1 or after 9999
    assert convert_time(timestamp(moment), "seen") == expected


@pytest.mark.parametrize("message", [Timestamp(seconds=2**50), Timestamp(seconds=-(2**50)), Timestamp(nanos=-1)], ids=["late", "early", "nanos"])  # fmt: skip
def test_a_time_out_of_range_is_refused(message: Timestamp) -> None:
    with pytest.raises(ValidationError) as caught:
        convert_time(message, "draft.seen")
    assert caught.value.field == "draft.seen"
