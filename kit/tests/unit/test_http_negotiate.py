"""What an Accept header allows, and what conditional requests say of versions and tags."""

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import StaleVersion
from paceline.http.app import App
from paceline.http.conditional import entity_tag, expected_versions
from paceline.http.endpoint import Reply
from paceline.http.negotiate import JSON, accepts
from paceline.http.openapi import openapi_document
from paceline.http.problem import InvalidRequest
from paceline.http.testing import TestClient


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
        ('W/"7", "8"', {8}),
        ('"somebody-elses"', set[int]()),
        ('"007"', set[int]()),
    ],
)
def test_if_match_names_versions(header: str | None, versions: set[int] | None) -> None:
    expected = None if versions is None else frozenset(versions)
    assert expected_versions(header) == expected


@pytest.mark.parametrize("header", ['W/"7"', 'W/"7", W/"8"'])
def test_weak_tags_match_nothing_and_the_error_says_who_makes_them(header: str) -> None:
    with pytest.raises(StaleVersion, match=r"weak tags.*a proxy that compresses"):
        expected_versions(header)


@pytest.mark.parametrize("if_match", [None, "*", '"7"'])
def test_if_none_match_of_a_change_excludes_every_version(if_match: str | None) -> None:
    assert expected_versions(if_match, "*") == frozenset()


@dataclass(frozen=True)
class Read:
    """A read of what has ``tag``; ``want``: its status."""

    id: str
    if_match: str | None = None
    if_none_match: str | None = None
    want: int = 200
    tag: bytes | None = b'"7"'


@pytest.mark.parametrize(
    "case",
    [
        Read("no condition"),
        Read("the tag", None, '"7"', 304),
        Read("one of several", None, '"6", "7"', 304),
        Read("any", None, "*", 304),
        Read("the tag, made weak", None, 'W/"7"', 304),
        Read("another tag", None, '"6"'),
        Read("a part of it", None, '"77"'),
        Read("no tag to compare with", '"6"', '"7"', tag=None),
        Read("the tag is expected", '"7"'),
        Read("any is expected", "*"),
        Read("another is expected", '"6"', want=412),
        Read("a weak one is expected", 'W/"7"', want=412),
        Read("expected, and known", '"7"', '"7"', 304),
        Read("stale, and known", '"6"', '"7"', 412),
        Read("a weak tag of the resource, expected", 'W/"7"', want=412, tag=b'W/"7"'),
        Read("a weak tag of the resource, known", None, '"7"', 304, tag=b'W/"7"'),
        Read("no list of tags", None, "7", 422),
        Read("no list of tags is expected", "7", want=422),
        Read("stale, and no list of tags", '"6"', "", 422),
    ],
    ids=lambda case: case.id,
)
async def test_a_read_is_compared_with_its_tag(case: Read) -> None:
    async def read() -> Reply[str]:
        return Reply("seven", [] if case.tag is None else [(b"etag", case.tag)])

    app = App()
    app.group().get("/", read, conditional=True)
    headers = {"if-match": case.if_match, "if-none-match": case.if_none_match}
    given = {name: value for name, value in headers.items() if value is not None}
    for method in ("GET", "HEAD"):
        answer = await TestClient(app).request(method, "/", headers=given)
        assert answer.status == case.want
        if case.want == 304:
            assert (answer.body, answer.headers) == (b"", {"etag": (case.tag or b"").decode()})


def test_the_document_says_what_a_conditional_route_takes_and_answers() -> None:
    async def read() -> Reply[str]:
        return Reply("seven", [(b"etag", b'"7"')])

    app = App()
    app.group().get("/tagged", read, conditional=True)
    app.group().get("/plain", read)
    paths = openapi_document(app, title="t", version="1")["paths"]
    tagged, plain = paths["/tagged"]["get"], paths["/plain"]["get"]
    assert {each["name"] for each in tagged["parameters"]} == {"if-match", "if-none-match"}
    assert not any(each["required"] for each in tagged["parameters"])
    assert set(tagged["responses"]) == {"200", "304", "412", "422", "default"}
    assert tagged["responses"]["304"] == {"description": "Not Modified"}
    assert (plain["parameters"], set(plain["responses"])) == ([], {"200", "default"})


async def test_a_list_of_tags_may_come_in_several_fields() -> None:
    async def read() -> Reply[str]:
        return Reply("seven", [(b"etag", b'"7"')])

    app = App()
    app.group().get("/", read, conditional=True)
    fields = [(b"if-none-match", b'"7"'), (b"if-none-match", b'"8"')]
    assert (await TestClient(app).request("GET", "/", header_list=fields)).status == 304


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
    with contextlib.suppress(InvalidRequest, StaleVersion):
        expected_versions(header)
