"""A URL and options become one request, or an error that says what to write."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from paceline.console.target import read_target
from paceline.errors import ValidationError


def test_a_bare_address_is_a_get_of_its_root() -> None:
    target = read_target("localhost:8080")
    assert (target.host, target.port, target.tls, target.local) == ("localhost", 8080, False, True)
    assert target.request == b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n"


def test_data_makes_it_a_post_of_json_whose_type_may_be_another() -> None:
    target = read_target("https://example.test/a?b=c", data=b"{}", headers=["Content-Type: text/x"])
    head, _, body = target.request.partition(b"\r\n\r\n")
    assert (target.host, target.port, target.tls, target.local) == (
        "example.test",
        443,
        True,
        False,
    )
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\nHost: example.test\r\n")
    assert head.endswith(b"Content-Type: text/x\r\nContent-Length: 2")
    assert body == b"{}"


def test_the_method_and_any_header_can_be_given() -> None:
    request = read_target("http://[::1]:80/", method="put", headers=["X-A:1", "host: b"]).request
    assert request == b"PUT / HTTP/1.1\r\nhost: b\r\nAccept: */*\r\nX-A: 1\r\n\r\n"


@dataclass(frozen=True)
class Wrong:
    id: str
    field: str
    url: str = "http://a/"
    method: str | None = None
    headers: Sequence[str] = ()


WRONG = [
    Wrong("another scheme", "URL", "ftp://a/"),
    Wrong("no host", "URL", "http:///x"),
    Wrong("a port that is none", "URL", "http://a:999999/"),
    Wrong("a user", "URL", "http://me:secret@a/"),
    Wrong("a space", "URL", "http://a/b c"),
    Wrong("a line break", "URL", "http://a/\r\nX: 1"),
    Wrong("not ASCII", "URL", "http://a/é"),
    Wrong("a method with a line break", "--method", method="GET /\r\n"),
    Wrong("a header without a colon", "--header", headers=["X"]),
    Wrong("a header with a line break", "--header", headers=["X: 1\r\nY: 2"]),
    Wrong("a header's name with a space", "--header", headers=["X Y: 1"]),
    Wrong("a header that is ours", "--header", headers=["Content-Length: 7"]),
    Wrong("a value outside Latin-1", "--header", headers=["X: €"]),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
def test_what_cannot_be_sent_is_refused(case: Wrong) -> None:
    with pytest.raises(ValidationError) as refused:
        read_target(case.url, method=case.method, headers=case.headers)
    assert refused.value.field == case.field
    assert "secret" not in refused.value.message
