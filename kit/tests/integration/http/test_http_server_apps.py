"""Apps that break the rules of ASGI, fail, or go on after their response."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from http_wire import GET, send_answer, serving

from paceline.http.asgi import Message, Receive, Scope, Send

pytestmark = pytest.mark.integration


def response(name: bytes, value: bytes, body: bytes = b"x") -> list[Message]:
    return [
        {"type": "http.response.start", "status": 200, "headers": [(name, value)]},
        {"type": "http.response.body", "body": body},
    ]


BAD_RESPONSES: dict[str, list[Message]] = {
    "nothing at all": [],
    "no body": [{"type": "http.response.start", "status": 200}],
    "body first": [{"type": "http.response.body", "body": b"x"}],
    "two starts": [{"type": "http.response.start", "status": 200}] * 2,
    "status 99": [{"type": "http.response.start", "status": 99}],
    "status 101": [{"type": "http.response.start", "status": 101}],
    "too long": response(b"content-length", b"1", b"xx"),
    "too short": response(b"content-length", b"3", b"xx"),
    "negative length": response(b"content-length", b"-1"),
    "a list of lengths": response(b"content-length", b"1, 1"),
    "a field in a value": response(b"x", b"a\r\nset-cookie: b"),
    "an end of line in a value": response(b"x", b"a\r\n"),
    "LF in a value": response(b"x", b"\n"),
    "CR in a value": response(b"x", b"\r"),
    "NUL in a value": response(b"x", b"\0"),
    "a field in a name": response(b"x: y\r\nz", b"a"),
    "a space in a name": response(b"x y", b"a"),
    "no name": response(b"", b"a"),
}


@pytest.mark.parametrize("messages", BAD_RESPONSES.values(), ids=BAD_RESPONSES.keys())
async def test_an_app_that_breaks_the_rules_is_answered_for_and_logged_once(
    messages: Sequence[Message],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async with serving(app) as served:
        client = await served.connect()
        answer = await client.request(GET)
        assert await client.read_to_end() == b""
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["detail"] == "internal error"
    assert [(level, event) for level, event, _ in served.log.lines] == [
        ("error", "request failed without an answer")
    ]


async def test_an_error_after_the_beginning_tears_the_connection() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("secret")

    async with serving(app) as served:
        client = await served.connect()
        client.send(GET)
        assert b"0\r\n\r\n" not in await client.read_to_end()
    [(level, event, fields)] = served.log.lines
    assert (level, event) == ("warning", "response cut short")
    assert fields == {"path": "/", "reason": "KeyError"}


async def test_an_app_may_go_on_after_its_response() -> None:
    done = asyncio.Event()
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send)
        if scope["path"] == "/slow":
            await go_on.wait()
            done.set()

    async with serving(app) as served:
        client = await served.connect()
        await client.request(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.request(GET)
        go_on.set()
        await done.wait()
