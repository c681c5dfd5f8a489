"""What an Accept header allows, and which versions an If-Match header names."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.conditional import entity_tag, expected_versions
from paceline.http.negotiate import JSON, accepts
from paceline.http.problem import InvalidRequest


@pytest.mark.parametrize(
    ("accept", "allowed"),
    [
        ("", True),
        ("*/*", True),
        ("application/json", True),
        ("APPLICATION/JSON", True),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", True),
        ("application/*", True),
        ("text/html", False),
        ("application/json;q=0", False),
        ("*/*, application/json;q=0", False),
        ("*/*;q=0, application/json", True),
        ("application/*;q=0, */*", False),
        ("application/json;q=banana", True),
        ("application/json;version=1;q=0.5", True),
    ],
)
def test_the_most_specific_range_decides(accept: str, *, allowed: bool) -> None:
    assert accepts(accept, JSON) is allowed


@given(st.text(max_size=60))
def test_any_accept_header_gets_an_answer(accept: str) -> None:
    assert accepts(accept, JSON) in {True, False}


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        (' "7" ', {7}),
        ('"7", "8"', {7, 8}),
        ('"7","8"', {7, 8}),
        ('W/"7"', set[int]()),
        ('"somebody-elses"', set[int]()),
        ('"007"', set[int]()),
    ],
)
def test_if_match_names_versions(header: str | None, versions: set[int] | None) -> None:
    expected = None if versions is None else frozenset(versions)
    assert expected_versions(header) == expected


@pytest.mark.parametrize("header", ["", "7", '"7', '"7" "8"', "W/7", '"7", *'])
def test_a_malformed_if_match_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        expected_versions(header)
    assert caught.value.errors[0].parameter == "header if-match"


@given(st.integers(min_value=1, max_value=10**17))
def test_an_issued_tag_is_parsed_back_to_its_version(version: int) -> None:
    assert expected_versions(entity_tag(version).decode()) == frozenset({version})


@given(st.text(max_size=40))
def test_any_if_match_is_parsed_or_refused(header: str) -> None:
    with contextlib.suppress(InvalidRequest):
        expected_versions(header)
