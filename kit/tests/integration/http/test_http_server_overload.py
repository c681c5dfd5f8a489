"""The server under overload: requests are rejected before there is a task, connections accepted."""

import asyncio
import json
import socket
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from http_wire import GET, Client, Held, echo, hello, serving, until

from paceline.clock import SystemClock
from paceline.http.app import App
from paceline.http.asgi import ASGIApp
from paceline.http.middleware.shed import PreAdmission, classify_by_method, shed
from paceline.http.server import PreparedResponse, ServerLimits
from paceline.resilience.load_shedding import Admission, LoadShedder
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

REJECTION = PreparedResponse(HTTPStatus.SERVICE_UNAVAILABLE, [(b"retry-after", b"1")], b"no")


@dataclass
class RejectAll:
    """An admission check that rejects every path but those in ``admitted``."""

    admitted: set[str] = field(default_factory=set[str])
    checked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    answer: PreparedResponse = REJECTION

    def rejection(self, method: str, path: str) -> PreparedResponse | None:
        self.checked.append((method, path))
        return None if path in self.admitted else self.answer


async def test_a_rejected_client_may_send_another_request_on_its_connection() -> None:
    check = RejectAll({"/open"})
    async with serving(echo, admission_check=check) as served:
        client = await served.connect()
        for _ in range(3):
            assert (await client.request(b"GET /shut HTTP/1.1\r\nHost: a\r\n\r\n")).status == 503
            answer = await client.request(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (answer.status, answer.body) == (200, b"GET /open  ")
    assert check.checked == 3 * [("GET", "/shut"), ("GET", "/open")]


@pytest.mark.parametrize("piece", [1, 7, 10_000], ids=lambda size: f"pieces of {size}")
async def test_the_body_of_a_rejected_request_does_not_pass_for_a_request(piece: int) -> None:
    body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    request = b"POST /shut HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    check = RejectAll({"/open"})
    async with serving(echo, admission_check=check) as served:
        client = await served.connect()
        for at in range(0, len(request), piece):
            client.send(request[at : at + piece])
            await asyncio.sleep(0)
        assert (await client.answer()).status == 503
        assert (
            await client.request(b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
        ).body == b"GET /open  "
    assert check.checked == [("POST", "/shut"), ("GET", "/open")]


async def test_pipelined_requests_are_answered_in_order_with_and_without_rejection() -> None:
    check = RejectAll({"/a", "/c"})
    async with serving(echo, admission_check=check) as served:
        client = await served.connect()
        client.send(
            b"".join(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"s", b"s", b"a"))
        )
        assert [(await client.answer()).status for _ in range(3)] == [503, 503, 200]


@dataclass(frozen=True)
class LeftToTheApp:
    id: str
    request: bytes


@pytest.mark.parametrize(
    "case",
    [
        LeftToTheApp(
            "a body of unknown length",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        LeftToTheApp(
            "a large body", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        ),
        LeftToTheApp(
            "a client that waits for 100 Continue",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
        ),
        LeftToTheApp("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"),
        LeftToTheApp("the last one", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        LeftToTheApp(
            "an offered upgrade",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
    ],
    ids=lambda case: case.id,
)
async def test_an_unusual_request_is_left_to_the_app(case: LeftToTheApp) -> None:
    check = RejectAll()
    async with serving(hello, admission_check=check) as served:
        assert (await served.request(case.request)).status == 200
    assert check.checked == []


async def test_a_rejected_request_that_never_ends_is_timed_out() -> None:
    async with serving(
        hello, ServerLimits(read_timeout=0.2), admission_check=RejectAll()
    ) as served:
        client = await served.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert (await client.answer()).status == 408


async def test_the_idle_timeout_holds_after_a_rejection() -> None:
    async with serving(
        hello, ServerLimits(idle_timeout=0.2), admission_check=RejectAll()
    ) as served:
        client = await served.connect()
        assert (await client.request(GET)).status == 503
        assert await client.read_to_end() == b""


async def test_a_client_that_sends_and_does_not_read_costs_no_memory() -> None:
    many = GET * 50_000
    check = RejectAll(answer=PreparedResponse(HTTPStatus.SERVICE_UNAVAILABLE, [], bytes(1000)))
    async with serving(hello, admission_check=check) as served:
        client = await served.connect()
        client.send(many)
        before = -1
        while len(check.checked) != before:  # until the server stops reading
            before = len(check.checked)
            await asyncio.sleep(0.2)
        assert before < 50_000
        client.writer.transport.abort()


def shedding(app: ASGIApp, *, most: int) -> tuple[ASGIApp, PreAdmission, Admission]:
    admission = Admission(
        LoadShedder(SystemClock(), RecordingLog(), max_in_flight=most, target_delay=0), "http"
    )
    classify = classify_by_method(health=["/health"])
    return shed(admission, classify)(app), PreAdmission(admission, classify), admission


async def test_the_servers_check_and_the_middleware_give_the_same_answer() -> None:
    held = Held()
    app, check, admission = shedding(held, most=10)
    async with serving(app, admission_check=check) as served:
        clients = [await served.connect() for _ in range(9)]
        for client in clients:
            client.send(GET)
        await until(lambda: held.calls == 9)
        by_server = await served.request(GET)
        by_app = await served.request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert by_server.status == by_app.status == 503
        assert by_server.body == by_app.body
        assert json.loads(by_server.body)["code"] == "RESOURCE_EXHAUSTED"
        ours = {"date", "connection"}
        assert by_server.headers == {k: v for k, v in by_app.headers.items() if k not in ours}
        assert by_server.headers["retry-after"] == "1"
        head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        client = await served.connect()
        client.send(head)
        assert (await client.answer(bodiless=True)).status == 503
        client.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: held.calls == 10)
        assert admission.stats.refused_reads == 3
        held.release.set()
        for each in (*clients, client):
            assert (await each.answer()).status == 200, "an admitted request is never lost"


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
async def test_a_first_request_is_rejected_before_there_is_a_connection(case: First) -> None:
    check, limits = RejectAll({"/open"}), ServerLimits(unchecked_connections=0)
    async with serving(hello, limits, admission_check=check) as served:
        sock = socket.create_connection(("127.0.0.1", served.server.port))
        sock.sendall(case.request)  # it has arrived before the server accepts
        client = Client(*await asyncio.open_connection(sock=sock))
        served.clients.append(client)
        answer = await client.answer(bodiless=case.request.startswith(b"HEAD"))
        assert answer.status == 503
        assert (answer.headers.get("connection") == "close") == case.closed
        assert served.server.connections == (not case.closed)
        if case.closed:
            assert await client.read_to_end() in {b"", b"no"}
    assert {path for _, path in check.checked} == {"/shut"}


async def test_a_first_request_is_refused_on_its_connection_unless_there_are_many() -> None:
    """The client need not connect again to be refused again."""
    limits = ServerLimits(unchecked_connections=100)
    async with serving(hello, limits, admission_check=RejectAll()) as served:
        await asyncio.sleep(0.02)
        closed: list[bool] = []
        for _ in range(40):
            sock = socket.create_connection(("127.0.0.1", served.server.port))
            sock.sendall(GET)  # it has arrived before the server accepts
            client = Client(*await asyncio.open_connection(sock=sock))
            served.clients.append(client)
            answer = await client.answer()
            assert answer.status == 503
            closed.append(answer.headers.get("connection") == "close")
    assert not closed[0]
    assert any(closed), "there are ten at once, and then a hundred a second"


async def test_all_waiting_clients_are_accepted_in_a_few_rounds_of_the_loop() -> None:
    rounds = 0  # in each of which uvloop by itself would accept one

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


async def test_a_burst_does_not_exceed_the_number_of_connections() -> None:
    most = 0
    async with serving(hello, ServerLimits(max_connections=50)) as served:
        clients = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(200)]
        try:
            for _ in range(50):  # rounds, in which those beyond are refused
                await asyncio.sleep(0)
                most = max(most, served.server.connections)
        finally:
            for client in clients:
                client.close()
        await until(lambda: not served.server.connections)
    assert most == 50


async def test_one_connection_too_many_gets_503_and_is_closed() -> None:
    async with serving(hello, ServerLimits(max_connections=3)) as served:
        clients = [await served.connect() for _ in range(3)]
        for client in clients:
            assert (await client.request(GET)).status == 200
        refused = await served.connect()
        assert (await refused.answer()).status == 503
        assert await refused.read_to_end() == b""
        clients[0].writer.close()
        await until(lambda: served.server.connections == 2)
        assert (await served.request(GET)).status == 200
