"""JSON bodies: no key twice in one object, and integers as JSON Schema has them."""

import json
from dataclasses import dataclass
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.asgi import Message, Scope
from paceline.http.body import body_reader
from paceline.http.problem import InvalidRequest
from paceline.json_keys import RepeatedKeyError, check_distinct_keys

_NAMES = st.one_of(st.sampled_from(["a", "b", ":", ",", "{", 'q"', "\\", "é"]), st.text(max_size=3))


class Twice(Exception):
    """The reference found a key twice."""


def distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Twice
    return dict(pairs)


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects as text, with randomly repeated keys; arrays."""

    def of(pairs: list[tuple[str, str]]) -> str:
        return "{" + ",".join(f"{json.dumps(name)} : {value}" for name, value in pairs) + "}"

    members = st.lists(st.tuples(_NAMES, inner), max_size=4).map(of)
    return members | st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")


_ATOMS = st.one_of(_NAMES.map(json.dumps), st.sampled_from(["1", "-2.5e3", "true", "null"]))
_DOCUMENTS = st.recursive(_ATOMS, objects, max_leaves=12)


def refused(raw: bytes) -> bool:
    try:
        check_distinct_keys(raw)
    except RepeatedKeyError:
        return True
    return False


@given(_DOCUMENTS)
def test_a_key_given_twice_is_found_exactly_where_there_is_one(document: str) -> None:
    try:
        json.loads(document, object_pairs_hook=distinct)
        expected = False
    except Twice:
        expected = True
    assert refused(document.encode()) is expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'{"a":1,"a":2}', True),
        (b'{"a":{"b":1},"b":2}', False),
        (b'{"a":"x","b":"a"}', False),
        (b'{"a":"a:","b":1}', False),
        (b'{"a":1,"\\u0061":2}', True),
        (b'[{"a":1},{"a":2}]', False),
        (b'"text"', False),
    ],
)
def test_keys_are_distinguished_from_values(document: bytes, *, expected: bool) -> None:
    assert refused(document) is expected


class Draft(msgspec.Struct, frozen=True):
    count: Annotated[int, msgspec.Meta(ge=-10)]
    limit: int | None = None
    share: float = 0.0
    data: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Number:
    id: str
    body: bytes
    read: Draft | None


def draft(count: int, limit: int | None = None, data: bytes = b"null") -> Draft:
    return Draft(count, limit, 0.0, msgspec.Raw(data))


@pytest.mark.parametrize("case", [
    Number("an integer", b'{"count":5}', draft(5)),
    Number("a zero fraction", b'{"count":5.0, "limit":-0.00}', draft(5, 0)),
    Number("an exponent", b'{"count":5e2,"limit":1.5E1}', draft(500, 15)),
    Number("other text stays", b'{"count":1e1,"data":{"a": 1.0, "b" :2}}', draft(10, data=b'{"a": 1.0, "b" :2}')),
    Number("a fraction", b'{"count":5.5}', None),
    Number("beyond 64 bits", b'{"count":1e30}', None),
    Number("a text", b'{"count":"5.0"}', None),
    Number("below the limit", b'{"count":-11.0}', None),
    Number("another wrong field", b'{"count":5.0,"share":"x"}', None),
    Number("no object", b"[5.0]", None),
], ids=lambda case: case.id)  # fmt: skip
async def test_a_number_without_a_fraction_is_an_integer_however_it_is_written(
    case: Number,
) -> None:
    read = body_reader(Draft, 1000)

    async def receive() -> Message:
        return {"type": "http.request", "body": case.body}

    scope: Scope = {"type": "http", "headers": []}
    if case.read is not None:
        assert await read(scope, receive) == case.read
        return
    with pytest.raises(InvalidRequest):
        await read(scope, receive)
