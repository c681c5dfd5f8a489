"""Request heads: targets of every form, and heads that can be read in two ways."""

import json
from dataclasses import dataclass
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.server.http1.head import check_head, problem_response
from paceline.http.server.refusals import RequestRejected
from paceline.http.server.request_target import split_target


@dataclass(frozen=True)
class Target:
    method: str
    target: bytes
    parts: tuple[bytes, bytes, bytes] | HTTPStatus


BAD = HTTPStatus.BAD_REQUEST
TARGETS = [
    Target("GET", b"/", (b"/", b"", b"")),
    Target("GET", b"/a/b?c=d&e", (b"/a/b", b"c=d&e", b"")),
    Target("GET", b"/a?b?c", (b"/a", b"b?c", b"")),
    Target("GET", b"/?", (b"/", b"", b"")),
    Target("GET", b"//host/path", (b"//host/path", b"", b"")),
    Target("GET", b"/http://x", (b"/http://x", b"", b"")),
    Target("GET", b"http://h/p?q", (b"/p", b"q", b"h")),
    Target("GET", b"HTTPS://h:1", (b"/", b"", b"h:1")),
    Target("GET", b"http://h?q", (b"/", b"q", b"h")),
    Target("GET", b"http://h?q=/x", (b"/", b"q=/x", b"h")),
    Target("GET", b"http://[::1]:80//x", (b"//x", b"", b"[::1]:80")),
    Target("OPTIONS", b"*", (b"*", b"", b"")),
    Target("GET", b"*", BAD),
    Target("GET", b"", BAD),
    Target("GET", b"http://", BAD),
    Target("GET", b"http:///path", BAD),
    Target("GET", b"http://?q", BAD),
    Target("GET", b"http://user:pass@h/", BAD),
    Target("GET", b"ftp://h/", BAD),
    Target("GET", b"h:80", BAD),
    Target("GET", b"?q", BAD),
    Target("GET", b"/a#b", BAD),
    Target("CONNECT", b"h:80", HTTPStatus.NOT_IMPLEMENTED),
]


@pytest.mark.parametrize("case", TARGETS, ids=lambda case: f"{case.method} {case.target!r}")
def test_a_target_is_split_or_refused(case: Target) -> None:
    if isinstance(case.parts, tuple):
        assert split_target(case.method, case.target) == case.parts
    else:
        with pytest.raises(RequestRejected) as caught:
            split_target(case.method, case.target)
        assert caught.value.status is case.parts


@given(method=st.sampled_from(["GET", "OPTIONS", "CONNECT"]), target=st.binary())
def test_any_target_has_an_absolute_path_or_is_refused(method: str, target: bytes) -> None:
    try:
        path, query, authority = split_target(method, target)
    except RequestRejected:
        return
    assert path == b"*" or path.startswith(b"/")
    assert b"?" not in path + authority
    whole = path + (b"?" + query if query else b"")
    if not authority:
        assert whole == target.removesuffix(b"?")


@dataclass(frozen=True)
class Head:
    id: str
    headers: list[tuple[bytes, bytes]]
    version: str = "1.1"
    status: HTTPStatus | None = None


HOST = (b"host", b"a")
CHUNKED = (b"transfer-encoding", b"Chunked")
HEADS = [
    Head("plain", [HOST]),
    Head("chunked", [HOST, CHUNKED]),
    Head("repeated fields of other names", [HOST, (b"cookie", b"a"), (b"cookie", b"b")]),
    Head("HTTP/1.0 without host", [], "1.0"),
    Head("no host", [], status=BAD),
    Head("two hosts", [HOST, HOST], status=BAD),
    Head("two hosts in HTTP/1.0", [HOST, HOST], "1.0", status=BAD),
    Head("two codings", [HOST, (b"transfer-encoding", b"gzip"), CHUNKED], status=BAD),
    Head(
        "gzip", [HOST, (b"transfer-encoding", b"gzip, chunked")], status=HTTPStatus.NOT_IMPLEMENTED
    ),
    Head("chunked in HTTP/1.0", [HOST, CHUNKED], "1.0", status=BAD),
    Head("HTTP/0.9", [HOST], "0.9", status=HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
    Head("HTTP/2.0", [HOST], "2.0", status=HTTPStatus.HTTP_VERSION_NOT_SUPPORTED),
]


@pytest.mark.parametrize("case", HEADS, ids=lambda case: case.id)
def test_an_ambiguous_head_is_refused(case: Head) -> None:
    index = dict(case.headers)
    if case.status is None:
        check_head(case.version, case.headers, index)
        return
    with pytest.raises(RequestRejected) as caught:
        check_head(case.version, case.headers, index)
    assert caught.value.status is case.status


def test_a_problem_is_a_whole_response_that_closes() -> None:
    response = problem_response(
        RequestRejected(HTTPStatus.REQUEST_TIMEOUT, 'too "slow"'), b"date: now\r\n"
    )
    head, body = response.split(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    assert line == b"HTTP/1.1 408 Request Timeout"
    assert dict(field.split(b": ") for field in fields) == {
        b"date": b"now",
        b"content-type": b"application/problem+json",
        b"content-length": b"%d" % len(body),
        b"cache-control": b"no-store",
        b"connection": b"close",
    }
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Request Timeout",
        "status": 408,
        "detail": 'too "slow"',
    }
