"""Requests whose fields came before: they are read anew as far as they differ."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from http_wire import echo, serving

from paceline.http.asgi import Receive, Scope, Send
from paceline.http.server import ServerLimits

pytestmark = pytest.mark.integration

FIELDS = b"Host: a\r\nX-One: 1\r\nx-one: 2\r\n\r\n"


def get(target: bytes, fields: bytes = FIELDS) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b" % (target, fields)


async def test_a_request_with_known_fields_has_the_scope_of_the_first_one() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(dict(scope))
        scope["headers"].append((b"x-mine", b"1"))
        await echo(scope, receive, send)

    async with serving(app) as served:
        client = await served.connect()
        for _ in range(3):
            assert (
                await client.request(get(b"/a.b/1?q=2&r=%d" % 1))
            ).body == b"GET /a.b/1 q=2&r=1 "
    first, *others = scopes
    first["headers"].pop()  # what the app has added is its own request's
    for other in others:
        other["headers"].pop()
        assert other == first
    assert first["headers"] == [(b"host", b"a"), (b"x-one", b"1"), (b"x-one", b"2")]


@dataclass(frozen=True)
class Case:
    id: str
    data: bytes
    status: int


CASES = [
    Case("space in the target", b"GET /a b HTTP/1.1\r\n", 400),
    Case("fragment", b"GET /a#b HTTP/1.1\r\n", 400),
    Case("bare line feed", b"GET /a HTTP/1.1\n", 400),
    Case("authority", b"GET //user@b HTTP/1.1\r\n", 200),
    Case("absolute form", b"GET http://b/a HTTP/1.1\r\n", 200),
    Case("unknown method", b"GETT /a HTTP/1.1\r\n", 400),
    Case("other version", b"GET /a HTTP/2.0\r\n", 505),
    Case("too long", b"GET /%b HTTP/1.1\r\n" % (b"a" * 300), 414),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_a_request_line_is_read_as_strictly_before_known_fields(case: Case) -> None:
    limits = ServerLimits(max_target_bytes=256)
    async with serving(echo, limits) as served:
        fresh = await served.request(case.data + FIELDS)
        assert fresh.status == case.status
        client = await served.connect()
        await client.request(get(b"/"))
        known = await client.request(case.data + FIELDS)
    assert (known.status, known.body) == (fresh.status, fresh.body)


async def test_a_body_is_never_taken_for_known_fields() -> None:
    """Also where what follows the request line of a body is what was once a head."""
    async with serving(echo) as served:
        client = await served.connect()
        await client.request(get(b"/"))
        inner = get(b"/inner")
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(inner))
        client.send(inner)
        assert (await client.answer()).body == b"POST /a  " + inner


async def test_a_body_is_as_long_as_its_length_says_whatever_comes_behind_it() -> None:
    """Also where the fields are known, and the piece is shorter or longer than before."""

    def post(body: bytes) -> bytes:
        return b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n" + body

    async with serving(echo) as served:
        client = await served.connect()
        for body in (b"1234", b"5678", b"\r\n\r\n"):
            assert (await client.request(post(body))).body == b"POST /a  " + body
        client.send(post(b"12"))
        await asyncio.sleep(0)
        client.send(b"34" + post(b"5678") + get(b"/b"))
        bodies = [(await client.answer()).body for _ in range(3)]
    assert bodies == [b"POST /a  1234", b"POST /a  5678", b"GET /b  "]


async def test_fields_of_one_method_are_those_of_another() -> None:
    fields = b"Host: a\r\nContent-Length: 2\r\n\r\nab"
    async with serving(echo) as served:
        client = await served.connect()
        for method in (b"POST", b"PUT", b"GET", b"DELETE"):
            answer = await client.request(method + b" /x HTTP/1.1\r\n" + fields)
            assert answer.body == method + b" /x  ab"


async def test_a_head_that_came_in_pieces_and_pipelined_ones_are_parsed() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        for _ in range(2):
            client.send(get(b"/1")[:10])
            await asyncio.sleep(0)
            client.send(get(b"/1")[10:] + get(b"/2"))
            client.send(get(b"/3"))
            bodies = [(await client.answer()).body for _ in range(3)]
            assert bodies == [b"GET /1  ", b"GET /2  ", b"GET /3  "]


@pytest.mark.parametrize("value", [b"close", b"Close"])
async def test_a_connection_that_the_client_ends_ends_with_known_fields(value: bytes) -> None:
    async with serving(echo) as served:
        for _ in range(2):
            client = await served.connect()
            client.send(get(b"/", b"Host: a\r\nConnection: %b\r\n\r\n" % value))
            assert (await client.read_to_end()).startswith(b"HTTP/1.1 200")


async def test_a_client_that_takes_trailers_takes_them_each_time() -> None:
    extensions: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extensions.append(scope.get("extensions"))
        await echo(scope, receive, send)

    async with serving(app) as served:
        client = await served.connect()
        for _ in range(2):
            await client.request(get(b"/", b"Host: a\r\nTE: trailers\r\n\r\n"))
    assert extensions == [{"http.response.trailers": {}}] * 2


async def test_a_whole_response_with_an_impossible_status_is_a_failure_of_the_app() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Any) -> None:
        send.whole(700, [], b"x")

    async with serving(app) as served:
        client = await served.connect()
        answer = await client.request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.status == 500
