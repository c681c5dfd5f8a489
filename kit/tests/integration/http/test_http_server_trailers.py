"""Trailers of a response over HTTP/1.1: behind a chunked body, to a client that takes them."""

from dataclasses import dataclass

import pytest
from http_wire import serving

from paceline.http.asgi import Headers, Receive, Scope, Send

pytestmark = pytest.mark.integration

NAME = "http.response.trailers"


@dataclass
class Trailing:
    """Answers "ab" in two parts, and then ``trailers``, each list in a message of its own."""

    trailers: tuple[Headers, ...] = ([(b"X-A", b"1")], [(b"x-b", b"2"), (b"keep-alive", b"1")])
    headers: tuple[tuple[bytes, bytes], ...] = ()
    offered: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        self.offered = NAME in scope.get("extensions", {})
        start = {"type": "http.response.start", "status": 200, "headers": [*self.headers]}
        await send({**start, "trailers": True})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})
        for number, fields in enumerate(self.trailers, 1):
            more = number < len(self.trailers)
            await send({"type": NAME, "headers": fields, "more_trailers": more})


def get(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((start, b"Host: a", *lines, b"", b""))


@pytest.mark.parametrize("te", [b"trailers", b"gzip;q=0.5, Trailers"])
async def test_a_client_that_takes_trailers_gets_them(te: bytes) -> None:
    app = Trailing()
    async with serving(app) as served:
        client = await served.connect()
        for _ in range(2):
            client.send(get(b"TE: " + te))
            data = await client.reader.readuntil(b"x-b: 2\r\n\r\n")
            _, _, body = data.partition(b"\r\n\r\n")
            assert body == b"1\r\na\r\n1\r\nb\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"
    assert app.offered


async def test_another_client_gets_the_body_without_them() -> None:
    app = Trailing()
    async with serving(app) as served:
        client = await served.connect()
        for te in (b"Accept: */*", b"TE: gzip", b"TE: xtrailers"):
            answer = await client.request(get(te))
            assert answer.body == b"ab"
            assert not app.offered


@dataclass(frozen=True)
class Unframed:
    """A response that has no place for trailers."""

    id: str
    head: bytes
    body: bytes = b"ab"
    headers: tuple[tuple[bytes, bytes], ...] = ()


UNFRAMED = [
    Unframed("a length", get(b"TE: trailers"), headers=((b"content-length", b"2"),)),
    Unframed("HEAD", get(b"TE: trailers", start=b"HEAD / HTTP/1.1"), b""),
    Unframed("HTTP/1.0", get(b"TE: trailers", start=b"GET / HTTP/1.0")),
]


@pytest.mark.parametrize("case", UNFRAMED, ids=lambda case: case.id)
async def test_a_body_that_is_not_chunked_has_none(case: Unframed) -> None:
    app = Trailing(headers=case.headers)
    async with serving(app) as served:
        client = await served.connect()
        client.send(case.head.replace(b"Host: a", b"Host: a\r\nConnection: close"))
        _, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    assert body == case.body
    assert served.log.events("error") == []


@dataclass(frozen=True)
class Refused:
    """A field that cannot be a trailer."""

    id: str
    field: tuple[bytes, bytes]


REFUSED = [
    Refused("a line break", (b"x", b"a\r\nb: c")),
    Refused("NUL", (b"x", b"a\0")),
    Refused("a blank in a name", (b"x y", b"a")),
    Refused("the length", (b"Content-Length", b"2")),
    Refused("a pseudo-field", (b":status", b"200")),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
async def test_a_wrong_trailer_does_not_pass_for_the_end_of_the_response(case: Refused) -> None:
    async with serving(Trailing(trailers=([case.field],))) as served:
        client = await served.connect()
        client.send(get(b"TE: trailers"))
        data = await client.read_to_end()
    assert data.endswith(b"1\r\nb\r\n") or not data
    assert served.log.events("warning") == ["response cut short"]


async def test_an_app_that_announces_trailers_and_sends_none_has_not_answered() -> None:
    async with serving(Trailing(trailers=())) as served:
        client = await served.connect()
        client.send(get(b"TE: trailers"))
        data = await client.read_to_end()
    assert b"\r\n0\r\n" not in data
    assert served.log.events("warning") == ["response cut short"]


async def test_trailers_unannounced_are_an_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200})
        await send({"type": NAME, "headers": []})

    async with serving(app) as served:
        assert (await served.request(get(b"TE: trailers"))).status == 500
