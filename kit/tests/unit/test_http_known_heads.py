"""Which heads are kept, and what is found of them."""

import pytest

from paceline.http.asgi import Headers
from paceline.http.server.known_heads import KnownHeads

HEAD = b"GET /a?b=1 HTTP/1.1\r\nHost: a\r\n\r\n"
FIELDS: Headers = [(b"host", b"a")]


def test_fields_that_came_before_are_found_behind_another_request_line() -> None:
    known = KnownHeads()
    known.add(HEAD, FIELDS, dict(FIELDS))
    found = known.find(HEAD.replace(b"GET /a?b=1", b"PUT /c"))
    assert found is not None
    assert (found.method, found.path, found.query) == ("PUT", b"/c", b"")
    assert found.headers == FIELDS
    assert known.find(HEAD + b"x") is None


@pytest.mark.parametrize("name", [b"expect", b"te", b"transfer-encoding", b"upgrade"])
def test_fields_that_speak_of_the_connection_are_not_kept(name: bytes) -> None:
    known = KnownHeads()
    data = HEAD[:-2] + name + b": x\r\n\r\n"
    headers = [*FIELDS, (name, b"x")]
    known.add(data, headers, dict(headers))
    assert known.find(data) is None
