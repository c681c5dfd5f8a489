"""A JSON body may not have a key twice in one object; the fast check agrees with the slow one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.body import check_distinct_keys
from paceline.http.problem import HttpError

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
    except HttpError as exc:
        return exc.status == 400
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
