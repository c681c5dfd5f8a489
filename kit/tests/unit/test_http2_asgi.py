"""ASGI apps on the streams of an HTTP/2 connection."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import h2.events
import pytest
from http2_wire import REQUEST, Wire
from http_wire import Held, echo, hello, read_body, send_answer

from paceline.http.asgi import STREAMING, Headers, Message, Receive, Scope, Send
from paceline.http.server.limits import ServerLimits
from paceline.http.server.prepared import PreparedResponse

GET: Headers = [(b":method", b"GET"), *REQUEST[1:]]
HEAD: Headers = [(b":method", b"HEAD"), *REQUEST[1:]]


async def test_a_request_is_a_scope_of_asgi() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send_answer(send)

    wire = Wire(app)
    head = [(b":method", b"GET"), (b":path", b"/a%20b?c=d%20e"), *REQUEST[2:]]
    wire.request(None, (b"accept", b"*/*"), head=head)
    await wire.settle()
    (scope,) = seen
    assert scope["http_version"] == "2"
    assert scope["method"] == "GET"
    assert scope["path"] == "/a b"
    assert scope["raw_path"] == b"/a%20b"
    assert scope["query_string"] == b"c=d%20e"
    assert scope["scheme"] == "http"
    assert scope["client"] == ("192.0.2.1", 5000)
    assert scope["server"] == ("192.0.2.2", 80)
    assert scope["headers"] == [(b"host", b"example.org"), (b"accept", b"*/*")]
    assert scope["extensions"] == {"http.response.trailers": {}}


async def test_a_body_arrives_and_is_answered() -> None:
    wire = Wire(echo)
    number = wire.request(b"x" * 50_000)
    await wire.settle()
    assert wire.body(number) == b"POST /things a=1 " + b"x" * 50_000
    assert wire.headers(number)[b":status"] == b"200"
    assert wire.headers(number)[b"date"] == b"Thu, 01 Jan 1970 00:00:00 GMT"
    assert not wire.connection.streams


async def test_two_requests_do_not_see_each_others_headers() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"].append((b"added", b"by the app"))
        await send_answer(send, b"%d" % len(scope["headers"]))

    wire = Wire(app)
    first = wire.request()
    second = wire.request()
    await wire.settle()
    assert wire.body(first) == wire.body(second) == b"2"


@pytest.mark.parametrize(("head", "status"), [(HEAD, 200), (GET, 204), (GET, 304)])
async def test_some_responses_have_no_body(head: Headers, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, b"ok", status)

    wire = Wire(app)
    number = wire.request(head=head)
    await wire.settle()
    assert wire.body(number) == b""
    assert wire.has_ended(number)
    assert wire.headers(number)[b":status"] == b"%d" % status


async def test_trailers_follow_the_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": b"a"})
        await send(
            {"type": "http.response.trailers", "headers": [(b"x-a", b"1")], "more_trailers": True}
        )
        await send({"type": "http.response.trailers", "headers": [(b"x-b", b"2")]})

    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    (event,) = wire.of(h2.events.TrailersReceived)
    assert event.headers == [(b"x-a", b"1"), (b"x-b", b"2")]  # type: ignore[attr-defined]
    assert wire.has_ended(number)
    assert wire.log.events("error") == []


async def test_fields_of_a_connection_are_dropped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [
            (b"Connection", b"close"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Keep-Alive", b"1"),
            (b"X-A", b"1"),
        ]
        await send_answer(send, b"ok", 200, *fields)

    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    assert set(wire.headers(number)) == {b":status", b"date", b"content-length", b"x-a"}


@dataclass(frozen=True)
class Wrong:
    name: str
    messages: tuple[Message, ...]
    status: bytes = b"500"


_START: Message = {"type": "http.response.start", "status": 200}
WRONG = [
    Wrong("nothing", ()),
    Wrong("no body", (_START,)),
    Wrong("a body first", ({"type": "http.response.body"},)),
    Wrong("two starts", (_START, _START)),
    Wrong("trailers unannounced", (_START, {"type": "http.response.trailers"})),
    Wrong("an unknown message", ({"type": "http.response.push"},)),
    Wrong("a status that is none", ({"type": "http.response.start", "status": 99},)),
    Wrong("a name with a blank", ({**_START, "headers": [(b"a b", b"")]},)),
    Wrong("a pseudo-field", ({**_START, "headers": [(b":path", b"/")]},)),
    Wrong("a value with a line break", ({**_START, "headers": [(b"a", b"b\r\nc: d")]},)),
    Wrong("a value with NUL", ({**_START, "headers": [(b"a", b"\0")]},)),
    Wrong("a length that is none", ({**_START, "headers": [(b"content-length", b"+1")]},)),
    Wrong("two lengths", ({**_START, "headers": [(b"content-length", b"1")] * 2},)),
    Wrong("longer than its length", ({**_START, "headers": [(b"content-length", b"1")]}, {"type": "http.response.body", "body": b"ab"})),
    Wrong("shorter than its length", ({**_START, "headers": [(b"content-length", b"2")]}, {"type": "http.response.body", "body": b"a"})),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
async def test_an_app_that_answers_wrongly_has_failed(wrong: Wrong) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in wrong.messages:
            await send(message)

    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    assert wire.headers(number)[b":status"] == wrong.status
    assert wire.headers(number)[b"content-type"] == b"application/problem+json"
    assert wire.has_ended(number)
    assert wire.log.events("error") == ["request failed without an answer"]


async def test_a_failure_in_the_middle_of_a_body_resets_the_stream() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise ValueError

    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    assert wire.reset_code(number) == 2
    assert not wire.has_ended(number)
    other = wire.request()
    await wire.settle()
    assert wire.reset_code(other) == 2


async def test_a_client_that_resets_cancels_the_task() -> None:
    held = Held()
    wire = Wire(held)
    number = wire.request()
    await held.entered.wait()
    wire.client.reset_stream(number)
    wire.send()
    await held.ended.wait()
    assert held.cancelled == 1
    assert not wire.connection.streams
    assert wire.log.lines == []


async def test_a_client_that_disconnects_cancels_every_task_and_a_stop_can_wait_for_them() -> None:
    held = Held()
    wire = Wire(held)
    wire.request()
    wire.request()
    await held.entered.wait()
    await asyncio.sleep(0)
    wire.connection.connection_lost(None)
    assert len(wire.state.tasks) == 2
    assert not wire.state.connections
    await asyncio.gather(*wire.state.tasks, return_exceptions=True)
    assert held.cancelled == 2


async def test_an_answer_before_the_end_of_the_request_ends_both_directions() -> None:
    wire = Wire(hello)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    wire.client.send_data(number, b"a")
    wire.send()
    await wire.settle()
    assert wire.body(number) == b"ok"
    assert wire.has_ended(number)
    assert wire.reset_code(number) is None
    Clock(wire).after(1)
    wire.receive()
    assert wire.reset_code(number) == 0


async def test_a_client_that_waits_is_told_to_continue_when_the_app_reads() -> None:
    wire = Wire(echo)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, [*REQUEST, (b"expect", b"100-continue")])
    wire.send()
    await wire.settle()
    (event,) = wire.of(h2.events.InformationalResponseReceived)
    assert event.headers == [(b":status", b"100")]  # type: ignore[attr-defined]
    wire.client.send_data(number, b"body", end_stream=True)
    wire.send()
    await wire.settle()
    assert wire.body(number).endswith(b"body")


async def test_nothing_is_continued_when_the_app_does_not_read() -> None:
    wire = Wire(hello)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, [*REQUEST, (b"expect", b"100-continue")])
    wire.send()
    await wire.settle()
    assert not wire.of(h2.events.InformationalResponseReceived)
    assert wire.has_ended(number)


async def test_send_waits_while_the_client_takes_no_more() -> None:
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for at in range(10):
            await send({"type": "http.response.body", "body": b"x" * 30_000, "more_body": True})
            sent.append(at)
        await send({"type": "http.response.body"})

    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    assert len(sent) == 3  # two windows' worth, and the part that did not fit
    while not wire.has_ended(number):
        wire.client.increment_flow_control_window(30_000)
        wire.client.increment_flow_control_window(30_000, number)
        wire.send()
        await wire.settle()
    assert len(wire.body(number)) == 300_000


async def test_what_the_app_does_not_read_stays_with_the_client() -> None:
    held = Held()
    wire = Wire(held, limits=ServerLimits(stream_window=65_535, connection_window=65_535 * 2))
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    for _ in range(4):
        wire.client.send_data(number, b"x" * 16_000)
    wire.send()
    await wire.settle()
    assert wire.client.local_flow_control_window(number) < 2_000
    held.release.set()
    await wire.settle()
    assert wire.has_ended(number)


class Refusing:
    """An admission check that has room for nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        fields: Headers = [(b"retry-after", b"1")]
        self.answer = PreparedResponse(HTTPStatus.SERVICE_UNAVAILABLE, fields, b"full")

    def rejection(self, method: str, path: str) -> PreparedResponse | None:
        self.asked.append((method, path))
        return self.answer


@pytest.mark.parametrize(("head", "body"), [(GET, b"full"), (HEAD, b"")])
async def test_a_request_without_room_is_refused_without_a_task(head: Headers, body: bytes) -> None:
    check = Refusing()
    wire = Wire(admission_check=check)
    number = wire.request(head=head)
    wire.receive()
    assert wire.headers(number)[b":status"] == b"503"
    assert wire.headers(number)[b"retry-after"] == b"1"
    assert wire.body(number) == body
    assert wire.has_ended(number)
    assert check.asked == [(head[0][1].decode(), "/things")]


async def test_a_refused_request_need_not_be_sent_to_its_end() -> None:
    wire = Wire(admission_check=Refusing())
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    wire.send()
    wire.receive()
    assert wire.body(number) == b"full"
    Clock(wire).after(1)
    wire.receive()
    assert wire.reset_code(number) == 0


@pytest.mark.parametrize(("path", "status"), [(b"/#a", b"400"), (b"/" + b"a" * 9_000, b"414")])
async def test_a_target_that_is_not_valid_is_refused(path: bytes, status: bytes) -> None:
    wire = Wire()
    number = wire.request(head=[(b":method", b"GET"), (b":path", path), *REQUEST[2:]])
    await wire.settle()
    assert wire.headers(number)[b":status"] == status


async def test_a_head_that_is_too_large_is_refused() -> None:
    wire = Wire(hello)
    number = wire.request(None, *[(b"x-%d" % at, b"v") for at in range(101)])
    wire.receive()
    assert wire.headers(number)[b":status"] == b"431"
    other = wire.request()
    await wire.settle()
    assert wire.headers(other)[b":status"] == b"200"


@dataclass
class Clock:
    """The time that a connection is told by the server's sweep."""

    wire: Wire
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.wire.loop.time()

    def after(self, seconds: float) -> None:
        self.wire.connection.check(self.start + seconds)


async def test_a_request_that_does_not_end_is_answered_408() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)

    wire = Wire(app)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    wire.send()
    await wire.settle()
    clock = Clock(wire)
    clock.after(14)
    assert await wire.settle() == []
    clock.after(16)
    await wire.settle()
    assert wire.headers(number)[b":status"] == b"408"
    clock.after(17)
    wire.receive()
    assert wire.reset_code(number) == 0
    assert not wire.connection.streams


async def test_a_request_that_may_last_is_not_timed_out() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": STREAMING})
        await send_answer(send, await read_body(receive))

    wire = Wire(app)
    number = wire.client.get_next_available_stream_id()
    wire.client.send_headers(number, REQUEST)
    wire.send()
    await wire.settle()
    Clock(wire).after(40)
    assert await wire.settle() == []
    wire.client.send_data(number, b"ab", end_stream=True)
    wire.send()
    await wire.settle()
    assert wire.headers(number)[b":status"] == b"200"


async def test_a_response_that_takes_too_long_is_cut() -> None:
    held = Held()
    wire = Wire(held)
    number = wire.request()
    await wire.settle()
    Clock(wire).after(31)
    await wire.settle()
    assert wire.reset_code(number) == 8
    assert held.cancelled == 1
    assert wire.log.events("warning") == ["response took too long"]


def _streaming(
    parts: int,
) -> tuple[asyncio.Event, Callable[[Scope, Receive, Send], Awaitable[None]]]:
    more = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, STREAMING: True})
        await send({"type": "http.response.body", "body": b"x" * parts, "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"y"})

    return more, app


async def test_a_stream_may_last_while_its_client_reads() -> None:
    more, app = _streaming(10)
    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    clock = Clock(wire)
    for seconds in (1, 40, 59):
        clock.after(seconds)
    more.set()
    await wire.settle()
    assert wire.body(number).endswith(b"y")


async def test_a_stream_whose_client_takes_nothing_is_cut() -> None:
    _, app = _streaming(100_000)
    wire = Wire(app)
    number = wire.request()
    await wire.settle()
    clock = Clock(wire)
    clock.after(0)
    clock.after(29)
    wire.client.increment_flow_control_window(5_000, number)
    wire.client.increment_flow_control_window(5_000)
    wire.send()
    clock.after(30)
    wire.client.increment_flow_control_window(10, number)  # a trickle does not count
    wire.client.increment_flow_control_window(10)
    wire.send()
    clock.after(59)
    await wire.settle()
    assert wire.reset_code(number) is None
    clock.after(61)
    await wire.settle()
    assert wire.reset_code(number) == 8
