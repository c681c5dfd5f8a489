"""What a server must refuse before any app sees it: each with a problem, a closed connection, no log.

Most of these are request smuggling: bytes that two readers could understand differently.
"""

import asyncio
import json
from dataclasses import dataclass

import pytest
from http_wire import GET, Held, echo, hello, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paceline.http.server import ServerLimits

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Refusal:
    id: str
    status: int
    sent: bytes


def with_headers(*lines: bytes, start: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join((start, b"Host: a", *lines, b"", b""))


CHUNKED = b"Transfer-Encoding: chunked"
REFUSALS = [
    Refusal("nonsense", 400, b"nonsense\r\n\r\n"),
    Refusal("a TLS client", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    Refusal("a preface of HTTP/2 that is none", 400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"),
    Refusal("HTTP/0.9", 505, b"GET /\r\n\r\n"),
    Refusal("HTTP/2.0", 505, with_headers(start=b"GET / HTTP/2.0")),
    Refusal("an unknown method", 400, with_headers(start=b"FROB / HTTP/1.1")),
    Refusal("no host", 400, b"GET / HTTP/1.1\r\n\r\n"),
    Refusal("two hosts", 400, with_headers(b"Host: b")),
    Refusal("lengths that differ", 400, with_headers(b"Content-Length: 1", b"Content-Length: 2")),
    Refusal("a length given twice", 400, with_headers(b"Content-Length: 1", b"Content-Length: 1")),
    Refusal("a list of lengths", 400, with_headers(b"Content-Length: 1, 1")),
    Refusal("a signed length", 400, with_headers(b"Content-Length: +1")),
    Refusal("a negative length", 400, with_headers(b"Content-Length: -1")),
    Refusal("a huge length", 400, with_headers(b"Content-Length: " + b"9" * 30)),
    Refusal("no length", 400, with_headers(b"Content-Length:")),
    Refusal("length and chunks", 400, with_headers(b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n"),
    Refusal("chunks and length", 400, with_headers(CHUNKED, b"Content-Length: 5") + b"0\r\n\r\n"),
    Refusal("chunked twice", 400, with_headers(CHUNKED, CHUNKED) + b"0\r\n\r\n"),
    Refusal("chunked not last", 400, with_headers(CHUNKED + b", gzip") + b"0\r\n\r\n"),
    Refusal("two codings", 400, with_headers(b"Transfer-Encoding: gzip", CHUNKED) + b"0\r\n\r\n"),
    Refusal("gzip, chunked", 501, with_headers(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    Refusal("identity", 501, with_headers(b"Transfer-Encoding: identity")),
    Refusal("xchunked", 501, with_headers(b"Transfer-Encoding: xchunked")),
    Refusal("vertical tab", 400, with_headers(b"Transfer-Encoding: \x0bchunked")),
    Refusal("chunks in 1.0", 400, with_headers(CHUNKED, start=b"POST / HTTP/1.0") + b"0\r\n\r\n"),
    Refusal("space before the colon", 400, with_headers(b"Content-Length : 1")),
    Refusal("a folded value", 400, with_headers(b"X: a", b" b")),
    Refusal("a folded coding", 400, with_headers(b"Transfer-Encoding:", b" chunked")),
    Refusal("space first", 400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    Refusal("no colon", 400, with_headers(b"X")),
    Refusal("no name", 400, with_headers(b": a")),
    Refusal("NUL in a value", 400, with_headers(b"X: a\0b")),
    Refusal("CR in a value", 400, with_headers(b"X: a\rb")),
    Refusal("LF line", 400, b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    Refusal("only LF", 400, b"GET / HTTP/1.1\nHost: a\n\n"),
    Refusal("control character", 400, with_headers(b"X: a\x01b")),
    Refusal("NUL in the target", 400, with_headers(start=b"GET /a\0b HTTP/1.1")),
    Refusal("bytes in the target", 400, with_headers(start=b"GET /\xc3\xa4 HTTP/1.1")),
    Refusal("a fragment", 400, with_headers(start=b"GET /a#b HTTP/1.1")),
    Refusal("a target without slash", 400, with_headers(start=b"GET foo HTTP/1.1")),
    Refusal("* for GET", 400, with_headers(start=b"GET * HTTP/1.1")),
    Refusal("http://", 400, with_headers(start=b"GET http:// HTTP/1.1")),
    Refusal("CONNECT", 501, with_headers(start=b"CONNECT a:80 HTTP/1.1")),
    Refusal("a long target", 414, with_headers(start=b"GET /" + b"x" * 9000 + b" HTTP/1.1")),
    Refusal("a target without end", 414, b"GET /" + b"x" * 9000),
    Refusal("large headers", 431, with_headers(*[b"X: " + b"x" * 1000] * 40)),
    Refusal("one large header", 431, with_headers(b"X: " + b"x" * 40_000)),
    Refusal("many headers", 431, with_headers(*[b"X: x"] * 100)),
    Refusal("headers without end", 431, b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 20_000),
    Refusal("a value without end", 431, b"GET / HTTP/1.1\r\nX: " + b"x" * 2_000_000),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["whole", "in pieces"])
async def test_it_is_refused_before_the_app_is_called(case: Refusal, piece: int) -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        for start in range(0, len(case.sent), piece):
            client.send(case.sent[start : start + piece])
            await asyncio.sleep(0)
        answer = await client.answer()
        assert await client.read_to_end() == b""
        assert (await served.connect()).reader  # the server still accepts
    assert (answer.status, held.calls) == (case.status, 0)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    problem = json.loads(answer.body)
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert (problem["type"], problem["status"]) == ("about:blank", case.status)
    assert served.log.lines == []


BAD_BODIES = {
    "a bare LF": b"3\nabc\r\n0\r\n\r\n",
    "a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"-3\r\nabc\r\n0\r\n\r\n",
    "an overflow": b"fffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
    "a space": b"3 \r\nabc\r\n0\r\n\r\n",
    "a line break in an extension": b'3;a="b\r\nc"\r\nabc\r\n0\r\n\r\n',
    "too much data": b"3\r\nabcd\r\n0\r\n\r\n",
    "an extension without end": b"3;" + b"x" * 1_000_000,
    "a trailer without end": b"0\r\nX: " + b"x" * 1_000_000,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_body_that_cannot_be_framed_cancels_its_request(body: bytes) -> None:
    async with serving(echo) as served:
        client = await served.connect()
        client.send(with_headers(CHUNKED))
        await client.writer.drain()
        for start in range(0, len(body), 4000):
            client.send(body[start : start + 4000])
            await asyncio.sleep(0)
        answer = await client.answer()
        assert await client.read_to_end() == b""
    assert answer.status in (400, 431)
    assert json.loads(answer.body)["status"] == answer.status
    assert served.log.lines == []


async def test_headers_up_to_the_limits_are_served() -> None:
    async with serving(hello) as served:
        assert (await served.request(with_headers(*[b"X: x"] * 99, b""))).status == 200
        assert (await served.request(with_headers(b"X: " + b"x" * 32_000, b""))).status == 200
        assert (
            await served.request(with_headers(b"", start=b"GET /" + b"x" * 8191 + b" HTTP/1.1"))
        ).status


async def test_the_header_limits_are_settings() -> None:
    async with serving(hello, ServerLimits(max_headers=2, max_header_bytes=100)) as served:
        assert (await served.request(with_headers(b"X: x"))).status == 200
        assert (await served.request(with_headers(b"X: x", b"Y: y"))).status == 431
        assert (await served.request(with_headers(b"X: " + b"x" * 100))).status == 431


PARTS = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"/ ", b"* ", b"http://a/ ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n"),
        *(b"Host: a\r\n", b"Content-Length: 3\r\n", CHUNKED + b"\r\n", b"Expect: 100-continue\r\n"),
        *(
            b"Connection: upgrade\r\nUpgrade: h2c\r\n",
            b"Connection: close\r\n",
            b"\r\n\r\n",
            b"abc",
        ),
        *(b"3\r\nabc\r\n", b"0\r\n\r\n", GET, b"\0", b" ", b":"),
    ]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(PARTS | st.binary(max_size=8), max_size=12), size=st.integers(1, 40))
async def test_any_input_gets_only_http_answers(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    async with serving(echo) as served:
        client = await served.connect()
        for start in range(0, len(data), size):
            client.send(data[start : start + size])
            await asyncio.sleep(0)
        if client.writer.can_write_eof():
            client.writer.write_eof()
        rest = await client.read_to_end()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 ")
        assert (await served.request(GET)).status == 200
    assert served.log.lines == []
