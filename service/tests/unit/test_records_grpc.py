"""Records as protobuf messages: what HTTP refuses is refused, and named as in the proto."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myservice.domain.records import Record, RecordDraft, check_draft
from myservice.handler.records_grpc import (
    draft_of,
    expected_version,
    how_many_fit,
    prefix_of,
    record_message,
)
from myservice.proto.v1 import records_pb2 as pb
from paceline.errors import ValidationError

ID = UUID("0192f0a0-0000-7000-8000-000000000001")
AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


@dataclass(frozen=True)
class Refused:
    id: str
    wrong: str
    name: str = "n"
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    data: str = ""
    says: str = ""


@pytest.mark.parametrize("case", [
    Refused("no name", "record.name", name=""),
    Refused("a long name", "record.name", name="x" * 201),
    Refused("NUL in the name", "record.name", name="a\0b"),
    Refused("an empty key", "record.metadata", metadata={"": "x"}),
    Refused("a long value", "record.metadata", metadata={"k": "x" * 1025}),
    Refused("many entries", "record.metadata", metadata={str(n): "" for n in range(65)}),
    Refused("no JSON", "record.data", data="{"),
    Refused("two values", "record.data", data="1 2"),
    Refused("blank", "record.data", data=" "),
    Refused("a key twice", "record.data", data='{"k": 1, "k": 2}', says="is not valid JSON: the key 'k' is given twice"),
    Refused("a key twice, escaped", "record.data", data='[{"k": 1, "\\u006b": 2}]', says="the key 'k' is given twice"),
    Refused("a nesting without end", "record.data", data="[" * 100_000),
], ids=lambda case: case.id)  # fmt: skip
def test_a_draft_that_breaks_a_rule_is_refused_by_field(case: Refused) -> None:
    draft = pb.RecordDraft(name=case.name, metadata=case.metadata, data=case.data)
    with pytest.raises(ValidationError) as caught:
        draft_of(pb.CreateRecordRequest(record=draft))
    assert caught.value.field == case.wrong
    assert case.says in caught.value.message
    assert caught.value.message


def test_a_request_without_a_draft_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        draft_of(pb.UpdateRecordRequest(id=str(ID)))
    assert caught.value.field == "record"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    name=st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=200
    ),
    data=json_values,
)
def test_a_draft_arrives_as_it_was_sent(name: str, data: object) -> None:
    text = msgspec.json.encode(data).decode()
    sent = pb.CreateRecordRequest(record=pb.RecordDraft(name=name, metadata={"k": "v"}, data=text))
    draft = draft_of(pb.CreateRecordRequest.FromString(sent.SerializeToString()))
    check_draft(draft)
    assert draft == RecordDraft(name, {"k": "v"}, msgspec.Raw(text.encode()))


def test_no_data_is_null() -> None:
    draft = draft_of(pb.CreateRecordRequest(record=pb.RecordDraft(name="n")))
    assert bytes(draft.data) == b"null"


@pytest.mark.parametrize("text", ["x" * 201, "a\0"])
def test_a_prefix_that_no_name_has_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        prefix_of(text, "filter")
    assert caught.value.field == "filter"


def test_any_version_is_expected_unless_one_is_given() -> None:
    assert expected_version(pb.DeleteRecordRequest()) is None
    assert expected_version(pb.DeleteRecordRequest(expected_version=0)) == {0}
    assert expected_version(pb.UpdateRecordRequest(expected_version=7)) == {7}


def test_a_record_becomes_a_whole_message() -> None:
    record = Record(ID, "n", {"k": "v"}, msgspec.Raw(b'{"a":1}'), 3, AT, AT)
    seconds = int(AT.timestamp())
    assert record_message(record) == pb.Record(
        id=str(ID), name="n", metadata={"k": "v"}, created_at=seconds, data='{"a":1}', version=3,
        updated_at=seconds,
    )  # fmt: skip


@pytest.mark.parametrize(("sizes", "fit"), [
    ([], 1), ([10], 1), ([5_000_000], 1), ([1_000_000] * 5, 3), ([100] * 100, 100),
], ids=str)  # fmt: skip
def test_a_page_holds_no_more_than_clients_accept(sizes: list[int], fit: int) -> None:
    assert how_many_fit(sizes) == fit
