"""Which heads are kept, and what is found of them."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import pytest

from paceline.http.asgi import Headers, Receive, Scope, Send
from paceline.http.server import PreparedResponse, ServerLimits
from paceline.http.server.http1.connection import HttpConnection
from paceline.http.server.known_heads import KnownHeads
from paceline.http.server.state import SharedState
from paceline.testing import SilentLog

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


@pytest.mark.parametrize(
    "name",
    [b"expect", b"te", b"transfer-encoding", b"upgrade", b"idempotency-key", b"traceparent"],
)
def test_fields_of_the_connection_or_of_one_request_are_not_kept(name: bytes) -> None:
    known = KnownHeads()
    data = HEAD[:-2] + name + b": x\r\n\r\n"
    headers = [*FIELDS, (name, b"x")]
    known.add(data, headers, dict(headers))
    assert known.find(data) is None


def post(length: bytes, body: bytes, name: bytes = b"Content-Length", more: bytes = b"") -> bytes:
    return b"POST /a HTTP/1.1\r\nHost: a\r\n%b: %b\r\n%b\r\n%b" % (name, length, more, body)


def with_length(length: bytes) -> Headers:
    return [*FIELDS, (b"content-length", length)]


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_bodies_of_other_lengths_are_found_behind_the_same_fields(name: bytes) -> None:
    known = KnownHeads()
    first = with_length(b"2")
    known.add(post(b"2", b"ab", name), first, dict(first))
    for body in (b"abc", b"x" * 12, b"\r\n\r\n", b"ab"):
        length = b"%d" % len(body)
        found = known.find(post(length, body, name))
        assert found is not None
        assert (found.headers, found.by_name) == (with_length(length), dict(with_length(length)))
        assert (found.method, found.path, found.body) == ("POST", b"/a", body)
    assert first == with_length(b"2"), "what is kept is not changed"


@dataclass(frozen=True)
class Other:
    id: str
    data: bytes


@pytest.mark.parametrize(
    "case",
    [
        Other("shorter than it says", post(b"3", b"ab")),
        Other("longer than it says", post(b"1", b"ab")),
        Other("no digits", post(b"", b"")),
        Other("no number", post(b"+2", b"ab")),
        Other("a list", post(b"2, 2", b"ab")),
        Other("hexadecimal", post(b"0x2", b"ab")),
        Other("blanks", post(b"2 ", b"ab")),
        Other("another name", post(b"2", b"ab", b"Content-length-")),
        Other("other capitals", post(b"2", b"ab", b"CONTENT-LENGTH")),
        Other("twice", post(b"2", b"ab", more=b"Content-Length: 2\r\n")),
        Other("twice, the first empty", post(b"", b"ab", more=b"Content-Length: 2\r\n")),
        Other("a further field", post(b"2", b"ab", more=b"X: 1\r\n")),
        Other("a folded line", post(b"2", b"ab", more=b" 3\r\n")),
        Other("more digits than any length", post(b"0000000002", b"ab")),
    ],
    ids=lambda case: case.id,
)
def test_what_differs_in_more_than_the_digits_of_its_length_is_not_known(case: Other) -> None:
    known = KnownHeads()
    known.add(post(b"2", b"ab"), with_length(b"2"), dict(with_length(b"2")))
    assert known.find(case.data) is None


class Recorder(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False


class RejectAll:
    """An admission check without room."""

    def rejection(self, method: str, path: str) -> PreparedResponse | None:
        del method, path
        return PreparedResponse(HTTPStatus.SERVICE_UNAVAILABLE, [], b"")


async def test_the_fields_of_a_rejected_request_are_known_afterwards() -> None:
    """Or refusing a client's requests would cost more the longer it lasts than answering them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError((scope, receive, send))

    state = SharedState(app, SilentLog(), ServerLimits(), RejectAll())
    connection, transport = HttpConnection(state, asyncio.get_running_loop()), Recorder()
    connection.connection_made(transport)
    request = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    assert state.known_heads.find(request) is None
    for number in range(1, 3):
        connection.data_received(request)
        await asyncio.sleep(0)
        assert state.known_heads.find(request) is not None
        assert transport.written.count(b"HTTP/1.1 503") == number
    connection.data_received(b"POST /b HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n12")
    connection.data_received(b"34")
    await asyncio.sleep(0)
    assert transport.written.count(b"HTTP/1.1 503") == 3
    assert state.known_heads.find(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n") is None
