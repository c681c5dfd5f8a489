"""Request smuggling: a message that two readers could frame differently has one answer and an end.

Behind each malformed message comes a request for another path. A reader that frames the message
differently would take it for a request of its own; here the app must never see it.
"""

import asyncio
from dataclasses import dataclass, field

import pytest
from http_wire import PATIENCE, read_body, send_answer, serving

from paceline.http.asgi import Receive, Scope, Send

pytestmark = pytest.mark.integration

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
TE = b"Transfer-Encoding: chunked"


def post(*lines: bytes, start: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join((start, b"Host: a", *lines, b"", b""))


@dataclass
class Recorder:
    """Answers with the body that it has read, and keeps which requests there were."""

    paths: list[str] = field(default_factory=list[str])
    whole: list[bytes] = field(default_factory=list[bytes])
    hosts: list[list[bytes]] = field(default_factory=list[list[bytes]])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.hosts.append([value for name, value in scope["headers"] if name == b"host"])
        body = await read_body(receive)
        self.whole.append(body)
        await send_answer(send, body)


@dataclass(frozen=True)
class Case:
    """``status`` 0: an end without an answer will do, too."""

    id: str
    sent: bytes
    status: int = 400


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(TE, *lines) + body


MALFORMED = [
    # Chunks.
    Case("bare LF after the size", chunked(b"3\nabc\r\n0\r\n\r\n")),
    Case("bare CR after the size", chunked(b"3\rabc\r\n0\r\n\r\n")),
    Case("LF after the data", chunked(b"3\r\nabc\n0\r\n\r\n")),
    Case("CR after the data", chunked(b"3\r\nabc\r0\r\n\r\n")),
    Case("nothing after the data", chunked(b"3\r\nabc0\r\n\r\n")),
    Case("more data than the size", chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    Case("less data than the size", chunked(b"5\r\nabc\r\n0\r\n\r\n")),
    Case("no size", chunked(b"\r\nabc\r\n0\r\n\r\n")),
    Case("only an extension", chunked(b";a=b\r\nabc\r\n0\r\n\r\n")),
    Case("17 digits that overflow", chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n")),
    Case("16 digits, all f", chunked(b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), 0),
    Case("plus", chunked(b"+3\r\nabc\r\n0\r\n\r\n")),
    Case("minus", chunked(b"-3\r\nabc\r\n0\r\n\r\n")),
    Case("0x", chunked(b"0x3\r\nabc\r\n0\r\n\r\n")),
    Case("underscore", chunked(b"0_3\r\nabc\r\n0\r\n\r\n")),
    Case("space before the size", chunked(b" 3\r\nabc\r\n0\r\n\r\n")),
    Case("space after the size", chunked(b"3 \r\nabc\r\n0\r\n\r\n")),
    Case("tab after the size", chunked(b"3\t\r\nabc\r\n0\r\n\r\n")),
    Case("NUL after the size", chunked(b"3\0\r\nabc\r\n0\r\n\r\n")),
    Case("no digit", chunked(b"g\r\nabc\r\n0\r\n\r\n")),
    Case("LF in an extension", chunked(b"3;a=b\nabc\r\n0\r\n\r\n")),
    Case("CR in an extension", chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n")),
    Case("NUL in an extension", chunked(b"3;a\0=b\r\nabc\r\n0\r\n\r\n")),
    Case("a quoted line break in an extension", chunked(b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n')),
    Case("LF after the last chunk", chunked(b"3\r\nabc\r\n0\n\n")),
    Case("LF at the end", chunked(b"3\r\nabc\r\n0\r\n\n")),
    Case("something instead of the last line", chunked(b"3\r\nabc\r\n0\r\nX\r\n\r\n")),
    # Trailers.
    Case("a folded trailer", chunked(b"0\r\nX: a\r\n b\r\n\r\n")),
    Case("LF in a trailer", chunked(b"0\r\nX: a\nY: b\r\n\r\n")),
    Case("NUL in a trailer", chunked(b"0\r\nX: a\0\r\n\r\n")),
    Case("space before a trailer's colon", chunked(b"0\r\nX : a\r\n\r\n")),
    Case("length as a trailer", chunked(b"0\r\nContent-Length: 100\r\n\r\n")),
    Case("coding as a trailer", chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n")),
    # A length and a coding.
    Case("length, coding", post(b"Content-Length: 5", TE) + b"0\r\n\r\n"),
    Case("coding, length", post(TE, b"Content-Length: 5") + b"0\r\n\r\n"),
    Case("coding, length 0", post(TE, b"Content-Length: 0") + b"0\r\n\r\n"),
    Case("chunked twice", post(TE, TE) + b"0\r\n\r\n"),
    Case("chunked, identity", post(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n"),
    Case("identity, then chunked", post(b"Transfer-Encoding: identity", TE) + b"0\r\n\r\n"),
    Case("chunked, then identity", post(TE, b"Transfer-Encoding: identity") + b"0\r\n\r\n"),
    Case("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n", 0),
    Case("xchunked", post(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n", 501),
    Case("chunkedx", post(b"Transfer-Encoding: chunkedx") + b"0\r\n\r\n", 501),
    Case("quoted", post(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n", 501),
    Case("a parameter", post(b"Transfer-Encoding: chunked;a=b") + b"0\r\n\r\n", 501),
    Case("vertical tab", post(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n"),
    Case("form feed", post(b"Transfer-Encoding: \x0cchunked") + b"0\r\n\r\n"),
    Case("empty coding", post(b"Transfer-Encoding:") + b"0\r\n\r\n", 0),
    Case("space before the colon", post(b"Transfer-Encoding : chunked") + b"0\r\n\r\n"),
    Case("folded coding", post(b"Transfer-Encoding:", b" chunked") + b"0\r\n\r\n"),
    Case("coding in HTTP/1.0", post(TE, start=b"POST / HTTP/1.0") + b"0\r\n\r\n"),
    # Lengths.
    Case("two lengths", post(b"Content-Length: 1", b"Content-Length: 2") + b"a"),
    Case("a length twice", post(b"Content-Length: 1", b"Content-Length: 1") + b"a"),
    Case("+1", post(b"Content-Length: +1") + b"a"),
    Case("-1", post(b"Content-Length: -1") + b"a"),
    Case("1,1", post(b"Content-Length: 1,1") + b"a"),
    Case("1 1", post(b"Content-Length: 1 1") + b"a"),
    Case("0x1", post(b"Content-Length: 0x1") + b"a"),
    Case("1.0", post(b"Content-Length: 1.0") + b"a"),
    Case("1_0", post(b"Content-Length: 1_0") + b"a" * 10),
    Case("empty length", post(b"Content-Length:") + b"a"),
    Case("too long a length", post(b"Content-Length: 18446744073709551617") + b"a"),
    Case("folded length", post(b"Content-Length:", b" 1") + b"a"),
    # Lines.
    Case("a folded field", post(b"X: a", b"\tb")),
    Case("a fold first", b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n"),
    Case("NUL in a name", post(b"X\0: a")),
    Case("NUL in a value", post(b"X: a\0b")),
    Case("CR in a value", post(b"X: a\rContent-Length: 5")),
    Case("CR before the colon", post(b"X\r: a")),
    Case("LF in a value", post(b"X: a\nContent-Length: 5")),
    Case("DEL in a value", post(b"X: a\x7fb")),
    Case("a control character in a value", post(b"X: a\x01b")),
    Case("a name with a slash", post(b"X/Y: a"), 400),
    Case("a name with bytes", post(b"X\xff: a")),
    Case("no colon", post(b"X")),
    Case("no name", post(b": a")),
    Case("CR in the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    Case("LF only", b"GET / HTTP/1.1\nHost: a\n\n"),
    Case("a tab in the request line", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("a space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    Case("HTTP/0.9", b"GET /\r\n\r\n", 505),
    Case("HTTP/0.9 by name", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    Case("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 0),
    Case("HTTP/1.01", b"GET / HTTP/1.01\r\nHost: a\r\n\r\n"),
    Case("http/1.1", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    Case("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    Case("a target of two hosts", b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
]
# Each in many pieces: what is parsed at once is no burden.
TOO_LARGE = [
    Case("huge extension", chunked(b"3;a=" + b"x" * 200_000 + b"\r\nabc\r\n0\r\n\r\n"), 431),
    Case("large trailers", chunked(b"0\r\n" + b"X: " + b"x" * 200_000 + b"\r\n\r\n"), 431),
    Case("many trailers", chunked(b"0\r\n" + b"X: x\r\n" * 50_000 + b"\r\n"), 431),
    Case("many extensions", chunked((b"1;a=" + b"x" * 1_000 + b"\r\na\r\n") * 100)),
    Case("many chunks of a byte", chunked(b"1\r\na\r\n" * 30_000)),
    Case("many chunks with leading zeros", chunked(b"00000000000000001\r\na\r\n" * 5_000)),
]  # fmt: skip


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.id)
async def test_nothing_behind_a_malformed_message_is_a_request(case: Case, *, pieces: bool) -> None:
    app = Recorder()
    async with serving(app) as served:
        client = await served.connect()
        data = case.sent + HIDDEN * 2
        for start in range(0, len(data), 1 if pieces else len(data)):
            client.send(data[start : start + 1] if pieces else data)
            await asyncio.sleep(0)
        if client.writer.can_write_eof():
            client.writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            received = await client.read_to_end()
    assert "/hidden" not in app.paths
    if case.status:
        assert received.startswith(b"HTTP/1.1 %d " % case.status), received
        assert b"connection: close\r\n" in received
    assert received.count(b"HTTP/1.1 ") <= 1
    assert app.whole == []


@pytest.mark.parametrize("case", TOO_LARGE, ids=lambda case: case.id)
async def test_what_a_chunked_body_has_besides_data_is_bounded(case: Case) -> None:
    app = Recorder()
    async with serving(app) as served:
        client = await served.connect()
        for start in range(0, len(case.sent), 4096):
            client.send(case.sent[start : start + 4096])
            await asyncio.sleep(0.001)  # so that it arrives in pieces
        client.send(HIDDEN)
        received = await client.read_to_end()
    assert received.startswith(b"HTTP/1.1 %d " % case.status)
    assert app.paths == ["/"]
    assert app.whole == []


@dataclass(frozen=True)
class Framed:
    """A message that looks odd, and is framed in one way only; ``body`` is what it holds."""

    id: str
    sent: bytes
    body: bytes = b""
    hosts: tuple[bytes, ...] = (b"a",)


FRAMED = [
    Framed("leading zeros", chunked(b"00000000000000003\r\nabc\r\n0\r\n\r\n"), b"abc"),
    Framed("upper and lower case", chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
           b"0123456789" * 2),
    Framed("chunks of a byte", chunked(b"1\r\na\r\n" * 1_000 + b"0\r\n\r\n"), b"a" * 1_000),
    Framed("many zeros at the end", chunked(b"3\r\nabc\r\n0000\r\n\r\n"), b"abc"),
    Framed("extensions", chunked(b'3;a=b;c="d\\"e";f\r\nabc\r\n0;g\r\n\r\n'), b"abc"),
    Framed("trailers, which are dropped", chunked(b"3\r\nabc\r\n0\r\nHost: b\r\nX: y\r\n\r\n"), b"abc"),
    Framed("spaces in the request line", b"POST  /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    Framed("a length with zeros", post(b"Content-Length: 003") + b"abc", b"abc"),
    Framed("blanks around a length", post(b"Content-Length: \t 3 \t") + b"abc", b"abc"),
    Framed("coding in capitals", post(b"TRANSFER-ENCODING: CHUNKED") + b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    Framed("coding after a tab", post(b"Transfer-Encoding:\tchunked") + b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    Framed("an absolute target", b"POST http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", hosts=(b"b",)),
    Framed("line ends before the request", b"\r\n\r\n" + post()),
]  # fmt: skip


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("case", FRAMED, ids=lambda case: case.id)
async def test_an_odd_message_ends_where_it_says(case: Framed, *, pieces: bool) -> None:
    app = Recorder()
    async with serving(app) as served:
        client = await served.connect()
        data = case.sent + HIDDEN
        for start in range(0, len(data), 1 if pieces else len(data)):
            client.send(data[start : start + 1] if pieces else data)
            await asyncio.sleep(0)
        answers = [await client.answer(), await client.answer()]
    assert [(answer.status, answer.body) for answer in answers] == [(200, case.body), (200, b"")]
    assert app.paths == ["/", "/hidden"]
    assert app.hosts == [list(case.hosts), [b"a"]]


async def test_nothing_behind_a_request_that_closes_is_a_request() -> None:
    app = Recorder()
    for first in (post(b"Connection: close"), post(start=b"POST / HTTP/1.0")):
        async with serving(app) as served:
            client = await served.connect()
            client.send(first + HIDDEN * 3)
            received = await client.read_to_end()
        assert received.count(b"HTTP/1.1 200 ") == 1
        assert b"connection: close" in received
    assert app.paths == ["/", "/"]
