"""The server when there is no room: turned away before there is a task, and accepted all the same."""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from http_wire import GET, Client, Held, echo, hello, serving

from paceline.clock import SystemClock
from paceline.http.app import App
from paceline.http.asgi import ASGIApp
from paceline.http.middleware.shed import PreAdmission, by_method, shed
from paceline.resilience.load_shedding import Admission, LoadShedder
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

REFUSAL = b"HTTP/1.1 503 no\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\nno"


async def until(condition: Callable[[], bool]) -> None:
    """Turn the event loop until it is so."""
    while not condition():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)


@dataclass
class Closed:
    """A gate that is closed, except for those it is told of."""

    open_to: set[str] = field(default_factory=set[str])
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    answer: bytes = REFUSAL

    def refusal(self, method: str, path: str) -> bytes | None:
        self.asked.append((method, path))
        return None if path in self.open_to else self.answer


async def test_who_is_turned_away_may_ask_again_on_the_same_connection() -> None:
    gate = Closed({"/open"})
    async with serving(echo, gate=gate) as served:
        client = await served.connect()
        for _ in range(3):
            assert (await client.ask(b"GET /shut HTTP/1.1\r\nHost: a\r\n\r\n")).status == 503
            answer = await client.ask(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (answer.status, answer.body) == (200, b"GET /open  ")
    assert gate.asked == 3 * [("GET", "/shut"), ("GET", "/open")]


@pytest.mark.parametrize("piece", [1, 7, 10_000], ids=lambda size: f"pieces of {size}")
async def test_the_body_of_a_refused_request_does_not_pass_for_a_request(piece: int) -> None:
    body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    request = b"POST /shut HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    gate = Closed({"/open"})
    async with serving(echo, gate=gate) as served:
        client = await served.connect()
        for at in range(0, len(request), piece):
            client.say(request[at : at + piece])
            await asyncio.sleep(0)
        assert (await client.answer()).status == 503
        assert (await client.ask(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")).body == b"GET /open  "
    assert gate.asked == [("POST", "/shut"), ("GET", "/open")]


async def test_pipelined_requests_are_answered_in_order_whoever_is_refused() -> None:
    gate = Closed({"/a", "/c"})
    async with serving(echo, gate=gate) as served:
        client = await served.connect()
        client.say(
            b"".join(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"s", b"s", b"a"))
        )
        assert [(await client.answer()).status for _ in range(3)] == [503, 503, 200]


@dataclass(frozen=True)
class Usual:
    id: str
    request: bytes


@pytest.mark.parametrize(
    "case",
    [
        Usual(
            "a body of unknown length",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        Usual("a large body", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"),
        Usual(
            "a client that waits to be asked",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
        ),
        Usual("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
        Usual("the last one", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        Usual(
            "an offered upgrade",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
    ],
    ids=lambda case: case.id,
)
async def test_what_is_not_so_simple_goes_the_usual_way(case: Usual) -> None:
    gate = Closed()
    async with serving(hello, gate=gate) as served:
        assert (await served.ask(case.request)).status == 200
    assert gate.asked == []


async def test_a_refused_request_that_never_ends_is_timed_out() -> None:
    async with serving(hello, gate=Closed(), read_timeout=0.2) as served:
        client = await served.connect()
        client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert (await client.answer()).status == 408


async def test_a_connection_that_was_turned_away_rests_no_longer_than_others() -> None:
    async with serving(hello, gate=Closed(), idle_timeout=0.2) as served:
        client = await served.connect()
        assert (await client.ask(GET)).status == 503
        assert await client.rest() == b""


async def test_a_client_that_sends_and_does_not_read_costs_no_memory() -> None:
    many = GET * 50_000
    gate = Closed(answer=b"HTTP/1.1 503 no\r\ncontent-length: 1000\r\n\r\n" + bytes(1000))
    async with serving(hello, gate=gate) as served:
        client = await served.connect()
        client.say(many)
        before = -1
        while len(gate.asked) != before:  # until it does not go on
            before = len(gate.asked)
            await asyncio.sleep(0.2)
        assert before < 50_000
        client.writer.transport.abort()


def guarded(app: ASGIApp, *, most: int) -> tuple[ASGIApp, PreAdmission, Admission]:
    door = Admission(
        LoadShedder(SystemClock(), RecordingLog(), max_in_flight=most, target_delay=0), "http"
    )
    classify = by_method(health=["/health"])
    return shed(door, classify)(app), PreAdmission(door, classify), door


async def test_the_gate_and_the_middleware_say_the_same() -> None:
    held = Held()
    app, gate, door = guarded(held, most=10)
    async with serving(app, gate=gate) as served:
        clients = [await served.connect() for _ in range(9)]
        for client in clients:
            client.say(GET)
        await until(lambda: held.calls == 9)
        by_gate = await served.ask(GET)
        by_app = await served.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert by_gate.status == by_app.status == 503
        assert by_gate.body == by_app.body
        assert json.loads(by_gate.body)["code"] == "RESOURCE_EXHAUSTED"
        ours = {"date", "connection"}
        assert by_gate.headers == {k: v for k, v in by_app.headers.items() if k not in ours}
        assert by_gate.headers["retry-after"] == "1"
        asked = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        client = await served.connect()
        client.say(asked)
        assert (await client.answer(bodiless=True)).status == 503
        client.say(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: held.calls == 10)
        assert door.stats.refused_reads == 3
        held.release.set()
        for each in (*clients, client):
            assert (await each.answer()).status == 200, "nobody who was let in is lost"


@dataclass(frozen=True)
class First:
    id: str
    request: bytes
    closed: bool


@pytest.mark.parametrize(
    "case",
    [
        First("a GET", b"GET /shut?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", closed=True),
        First("a HEAD", b"HEAD /shut HTTP/1.1\r\nHost: a\r\n\r\n", closed=True),
        First("one with a body", b"POST /shut HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", closed=False),
        First("an escaped path", b"GET /sh%75t HTTP/1.1\r\nHost: a\r\n\r\n", closed=False),
        First("two at once", b"GET /shut HTTP/1.1\r\nHost: a\r\n\r\n" * 2, closed=False),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
async def test_a_first_request_is_refused_before_there_is_a_connection(case: First) -> None:
    gate = Closed({"/open"})
    async with serving(hello, gate=gate) as served:
        sock = socket.create_connection(("127.0.0.1", served.server.port))
        sock.sendall(case.request)  # it is there before the server looks
        client = Client(*await asyncio.open_connection(sock=sock))
        served.clients.append(client)
        answer = await client.answer(bodiless=case.request.startswith(b"HEAD"))
        assert answer.status == 503
        assert (answer.headers.get("connection") == "close") == case.closed
        assert served.server.connections == (not case.closed)
        if case.closed:
            assert await client.rest() in {b"", b"no"}
    assert {path for _, path in gate.asked} == {"/shut"}


async def test_everybody_who_waits_is_accepted_at_once_however_long_a_round_takes() -> None:
    rounds = 0  # of uvloop's, in each of which it would take one

    async with serving(App()) as served:
        arriving = [
            asyncio.create_task(asyncio.open_connection("127.0.0.1", served.server.port))
            for _ in range(150)
        ]
        while served.server.connections < 150:
            rounds += 1
            await asyncio.sleep(0)
        for _, writer in [await each for each in arriving]:
            writer.close()
        await until(lambda: not served.server.connections)
    assert rounds < 60


async def test_one_connection_too_many_is_told_so_and_closed() -> None:
    async with serving(hello, max_connections=3) as served:
        clients = [await served.connect() for _ in range(3)]
        for client in clients:
            assert (await client.ask(GET)).status == 200
        refused = await served.connect()
        assert (await refused.answer()).status == 503
        assert await refused.rest() == b""
        clients[0].writer.close()
        await until(lambda: served.server.connections == 2)
        assert (await served.ask(GET)).status == 200
