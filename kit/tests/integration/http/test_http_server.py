"""The server on a real socket: requests and responses, on both event loops."""

import asyncio
import socket
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest
from http_wire import GET, Held, echo, hello, make_server, read_body, send_answer, serving, until

from paceline.concurrency.deadline import fail_after, remaining
from paceline.errors import Code, Error
from paceline.http.asgi import Headers, Receive, Scope, Send, whole_of
from paceline.http.server.server import HttpServer
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration


async def test_requests_on_one_connection_are_answered_one_after_another() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        for number in range(3):
            answer = await client.request(b"GET /%d?q=1 HTTP/1.1\r\nHost: a\r\n\r\n" % number)
            assert answer.status == 200
            assert answer.body == b"GET /%d q=1 " % number
            assert "connection" not in answer.headers


HEAD = b" HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"GET /fails" + HEAD + b"\r\n",
        b"GET /waits" + HEAD + b"\r\n",
        b"GET /torn" + HEAD + b"\r\n",
        3 * (b"GET /" + HEAD + b"\r\n"),
        b"POST /waits" + HEAD + b"Content-Length: 5\r\n\r\nab",
    ],
    ids=["nothing", "fails", "left", "torn", "pipelined", "left in its body"],
)
async def test_a_lone_response_is_sent_before_the_app_goes_on(before: bytes) -> None:
    """Also after requests that ended in whatever way: none of them is being answered still."""
    seen: list[bytes] = []
    begun: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        if scope["path"] == "/waits":
            await asyncio.Event().wait()
        elif scope["path"] == "/fails":
            raise ValueError
        elif scope["path"] == "/torn":
            headers = [(b"content-length", b"10")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            raise ValueError
        elif scope["path"] == "/lone":
            whole = whole_of(send)
            assert whole is not None
            assert whole(200, [], b"at once")
            seen.append(client.recv(1000))  # blocks the loop, which therefore sends nothing more
        else:
            await send_answer(send)

    async with serving(app) as served:
        if before:
            other = await served.connect()
            other.send(before)
            await until(lambda: bool(begun))
            other.writer.close()
            await until(lambda: not served.server.connections)
        with socket.create_connection(("127.0.0.1", served.server.port), timeout=2) as client:
            client.sendall(b"GET /lone" + HEAD + b"\r\n")
            await until(lambda: bool(seen))
    assert seen[0].endswith(b"at once")


async def test_of_two_responses_that_are_made_together_none_overtakes_the_other_one() -> None:
    both = asyncio.Barrier(2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with both:
            pass
        whole = whole_of(send)
        assert whole is not None
        assert whole(200, [], b"%b" % scope["raw_path"])

    async with serving(app) as served:
        clients = [await served.connect(), await served.connect()]
        for _ in range(3):
            answers = await asyncio.gather(
                *(
                    client.request(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
                    for number, client in enumerate(clients)
                )
            )
            assert [answer.body for answer in answers] == [b"/0", b"/1"]


async def test_the_head_has_a_date_and_does_not_name_the_server() -> None:
    async with serving(hello) as served:
        answer = await served.request(GET)
    assert set(answer.headers) == {"date", "content-length"}
    assert answer.headers["date"].endswith(" GMT")
    assert parsedate_to_datetime(answer.headers["date"]).year >= 2025


async def test_the_scope_describes_the_request() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send_answer(send)

    async with serving(app) as served:
        client = await served.connect()
        await client.request(b"GET /a%20b/%C3%A4?x=%20 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n")
        [scope] = scopes
        assert scope["client"] == client.writer.get_extra_info("sockname")
        assert scope["server"] == ("127.0.0.1", served.server.port)
    del scope["client"], scope["server"], scope["paceline.headers"]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/a b/ä",
        "raw_path": b"/a%20b/%C3%A4",
        "query_string": b"x=%20",
        "headers": [(b"host", b"a"), (b"x-one", b"1")],
        "state": {},
    }


@dataclass(frozen=True)
class Request:
    id: str
    sent: bytes
    seen: bytes


REQUESTS = [
    Request(
        "a body", b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"POST /p  abc"
    ),
    Request(
        "chunks, extensions and a trailer",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nAuthorization: x\r\n\r\n",
        b"POST /  abcde",
    ),
    Request("absolute form", b"GET http://b.example/p?q HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /p q "),
    Request("no path in it", b"GET http://b.example?q HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / q "),
    Request("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"OPTIONS *  "),
    Request("double slash", b"GET //x//y HTTP/1.1\r\nHost: a\r\n\r\n", b"GET //x//y  "),
    Request("empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /  "),
    Request(
        "a body on GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", b"GET /  x"
    ),
    Request(
        "an upgrade",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /  ",
    ),
    Request(
        "an upgrade with a body",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: \r\nContent-Length: 3\r\n\r\nabc",
        b"POST /  abc",
    ),
    Request(
        "an upgrade with chunks",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST /  abc",
    ),
]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.id)
@pytest.mark.parametrize("piece", [1 << 20, 7, 1], ids=["whole", "in pieces", "byte by byte"])
async def test_every_form_of_request_arrives_however_it_is_cut(case: Request, piece: int) -> None:
    async with serving(echo) as served:
        client = await served.connect()
        client.writer.get_extra_info("socket").setsockopt(6, 1, 1)  # TCP_NODELAY
        for start in range(0, len(case.sent), piece):
            client.send(case.sent[start : start + piece])
            await asyncio.sleep(0)
        answer = await client.answer()
    assert answer.body == case.seen
    assert served.log.lines == []


async def test_what_follows_an_offered_upgrade_is_the_next_request() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        offer = b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        client.send(offer + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [(await client.answer()).body for _ in range(2)] == [b"GET /1  ", b"GET /2  "]
        assert (await client.request(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"GET /3  "


async def test_a_body_after_an_offered_upgrade_cannot_pass_for_a_request() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        hidden = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
            b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden
        )
        answer = await client.answer()
        assert answer.body == b"POST /  " + hidden
        assert answer.headers["connection"] == "close"
        assert await client.read_to_end() == b""


async def test_a_trailer_does_not_become_a_header() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await read_body(receive)
        await send_answer(send)

    async with serving(app) as served:
        client = await served.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n"
            + GET
        )
        await client.answer()
        await client.answer()
    assert all(b"x-t" not in dict(scope["headers"]) for scope in scopes)


async def test_the_host_of_an_absolute_target_wins() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        await send_answer(send, b",".join(hosts))

    async with serving(app) as served:
        answer = await served.request(b"GET http://b:81/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.body == b"b:81"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(50)))
        bodies = [(await client.answer()).body for _ in range(50)]
    assert bodies == [b"GET /%d  " % n for n in range(50)]


async def test_pipelined_bodies_stay_with_their_requests() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        client.send(
            b"".join(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % n for n in range(9)
            )
        )
        assert [(await client.answer()).body for _ in range(9)] == [
            b"POST /  %d" % n for n in range(9)
        ]


async def test_too_many_pipelined_requests_end_the_connection_after_those_accepted() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        client.send(GET * 200)
        await held.entered.wait()
        held.release.set()
        answers = (await client.read_to_end()).split(b"HTTP/1.1 200")[1:]
    assert held.calls == len(answers) == 65
    assert b"connection: close" in answers[-1]


async def test_a_malformed_request_behind_a_good_one_does_not_answer_first() -> None:
    held = Held()
    async with serving(held) as served:
        client = await served.connect()
        client.send(GET + b"nonsense\r\n\r\n")
        await held.entered.wait()
        held.release.set()
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.read_to_end() == b""


@dataclass(frozen=True)
class Http10:
    id: str
    headers: bytes
    sized: bool
    kept: bool


OLDIES = [
    Http10("closes by default", b"", sized=True, kept=False),
    Http10("is kept when asked for", b"Connection: keep-alive\r\n", sized=True, kept=True),
    Http10("closes to end the body", b"Connection: keep-alive\r\n", sized=False, kept=False),
]


@pytest.mark.parametrize("case", OLDIES, ids=lambda case: case.id)
async def test_http_1_0(case: Http10) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = [(b"content-length", b"2")] if case.sized else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(app) as served:
        client = await served.connect()
        answer = await client.request(b"GET / HTTP/1.0\r\n" + case.headers + b"\r\n")
        assert answer.body == b"ok"
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == ("keep-alive" if case.kept else "close")
        if case.kept:
            assert (await client.request(b"GET / HTTP/1.0\r\n\r\n")).body == b"ok"
        assert await client.read_to_end() == b""


@pytest.mark.parametrize("who", ["client", "app"])
async def test_either_side_can_close(who: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, b"ok", 200, *([(b"Connection", b"close")] if who == "app" else []))

    async with serving(app) as served:
        client = await served.connect()
        wish = b"Connection: close\r\n" if who == "client" else b""
        answer = await client.request(b"GET / HTTP/1.1\r\nHost: a\r\n" + wish + b"\r\n")
        assert answer.headers["connection"] == "close"
        assert await client.read_to_end() == b""


@dataclass(frozen=True)
class Framing:
    id: str
    method: bytes
    status: int
    length: bool
    expect: set[str]
    body: bytes


FRAMINGS = [
    Framing("length", b"GET", 200, True, {"content-length"}, b"body"),
    Framing("chunks", b"GET", 200, False, {"transfer-encoding"}, b"body"),
    Framing("HEAD", b"HEAD", 200, True, {"content-length"}, b""),
    Framing("HEAD without length", b"HEAD", 200, False, set(), b""),
    Framing("204", b"GET", 204, False, set(), b""),
    Framing("204 with length", b"GET", 204, True, set(), b""),
    Framing("304 with length", b"GET", 304, True, {"content-length"}, b""),
]


@pytest.mark.parametrize("case", FRAMINGS, ids=lambda case: case.id)
async def test_bodies_are_framed_for_the_next_response_to_follow(case: Framing) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = [(b"Content-Length", b"4")] if case.length else []
        headers.append((b"Transfer-Encoding", b"gzip"))  # framing is not the app's
        await send({"type": "http.response.start", "status": case.status, "headers": headers})
        for piece in (b"bo", b"", b"dy"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(app) as served:
        client = await served.connect()
        for _ in range(2):
            client.send(case.method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await client.answer(bodiless=not case.body)
            assert answer.status == case.status
            assert set(answer.headers) - {"date"} == case.expect
            assert answer.body == case.body


async def test_a_large_body_is_whole() -> None:
    body = bytes(range(256)) * 8192

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, body)

    async with serving(app) as served:
        assert (await served.request(GET)).body == body


async def test_100_continue_is_sent_when_the_app_reads_the_body() -> None:
    async with serving(echo) as served:
        client = await served.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.head()).status == 100
        assert (await client.request(b"abc")).body == b"POST /  abc"


async def test_a_body_that_the_app_does_not_read_gets_no_100_continue() -> None:
    async with serving(hello) as served:
        client = await served.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.read_to_end() == b""


async def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, b"too large", 413)

    async with serving(app) as served:
        client = await served.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        client.send(bytes(4_000_000))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_a_request_does_not_inherit_what_was_ambient_at_the_start() -> None:
    seen: list[float | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(remaining())
        await send_answer(send)

    server = make_server(app, RecordingLog())
    async with fail_after(5, "start"):
        await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(GET)
    await reader.readuntil(b"ok")
    writer.close()
    await writer.wait_closed()
    await server.stop()
    assert seen == [None]


async def test_a_port_in_use_is_named_with_what_to_do() -> None:
    async with serving(hello) as served:
        port = served.server.port
        other = HttpServer(hello, RecordingLog(), host="127.0.0.1", port=port)
        with pytest.raises(Error, match=f"port {port} on 127.0.0.1 is in use: stop") as caught:
            await other.start()
        assert caught.value.code is Code.FAILED_PRECONDITION
        await other.stop()


async def test_an_unavailable_address_is_named() -> None:
    server = HttpServer(hello, RecordingLog(), host="192.0.2.1", port=0)
    with pytest.raises(Error, match=r"cannot listen to port 0 on 192\.0\.2\.1"):
        await server.start()
