"""The access log for people: one line a request, with its failure below it; records in JSON."""

import asyncio
import io
import re
from dataclasses import dataclass, field

import pytest
from rpc_echo import FakeContext

from paceline.concurrency import DeadlineExceeded
from paceline.edge import EndedRequest, access_lines
from paceline.errors import Code, Error
from paceline.grpc.call import Call, Method
from paceline.grpc.interceptors import access_log as rpc_access_log
from paceline.grpc.interceptors import recover as rpc_recover
from paceline.http import App
from paceline.http.asgi import PRINCIPAL, ASGIApp, Receive, Scope, Send
from paceline.http.middleware import access_log, recover, request_id
from paceline.http.testing import TestClient
from paceline.log import Format, Log, context_fields, new_logger
from paceline.testing import ManualClock, RecordingLog

ID = "c5f2d6a8b3e1f704-000042"


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def new_log(*, terminal: bool = True, form: Format = "auto") -> tuple[Log, io.BytesIO]:
    buffer = io.BytesIO()
    stream = (Terminal if terminal else io.TextIOWrapper)(buffer, encoding="utf-8")
    return new_logger(stream=stream, format=form, clock=ManualClock()), buffer


def plain(buffer: io.BytesIO) -> str:
    """What was written, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", buffer.getvalue().decode())


@dataclass(frozen=True)
class Case:
    id: str
    request: EndedRequest
    shown: str
    bound: dict[str, object] = field(default_factory=dict[str, object])
    terminal: bool = True


CASES = [
    Case(
        "a request",
        EndedRequest("POST", "/api/v1/records", "201", "ok", 0.0095, "ada", ID),
        "22:13:20.000  POST /api/v1/records  201  9.5 ms  ada  c5f2…0042\n",
    ),
    Case(
        "nobody is authenticated",
        EndedRequest("GET", "/docs", "200", "ok", 0.00042, "", "r-1"),
        "22:13:20.000  GET  /docs  200  0.42 ms  r-1\n",
    ),
    Case(
        "a call",
        EndedRequest("grpc", "RecordService/GetRecord", "OK", "ok", 1.2349, "ada", "r-1"),
        "22:13:20.000  grpc RecordService/GetRecord  OK  1.23 s  ada  r-1\n",
    ),
    Case(
        "of a long path the middle is left out",
        EndedRequest("GET", f"/api/v1/records/{'0' * 36}/things", "200", "ok", 0.12, "ada", ID),
        "22:13:20.000  GET  /api/v1/records/00000…000/things  200  120 ms  ada  c5f2…0042\n",
    ),
    Case(
        "a long caller does not push the line over the edge",
        EndedRequest("GET", "/a", "200", "ok", 0.12, "a" * 99, ID),
        f"22:13:20.000  GET  /a  200  120 ms  {'a' * 22}…{'a' * 10}  c5f2…0042\n",
    ),
    Case(
        "bound fields are last",
        EndedRequest("GET", "/a", "200", "ok", 0.12, "ada", ID),
        "22:13:20.000  GET  /a  200  120 ms  ada  c5f2…0042  worker=2\n",
        bound={"worker": 2},
    ),
    Case(
        "the error is below the request that failed",
        EndedRequest(
            "GET", "/a", "503", "failed", 0.1, "ada", ID, Error(Code.UNAVAILABLE, "no database")
        ),
        "22:13:20.000  GET  /a  503  100 ms  ada  c5f2…0042\n    no database\n",
    ),
    Case(
        "what a terminal would interpret is shown as its escape, and secrets are masked",
        EndedRequest("GET", "/\x1b[2J\n/a://u:hunter2@h", "200", "ok", 0.1),
        "22:13:20.000  GET  /\\x1b[2J\\n/a://u:***@h  200  100 ms\n",
    ),
    Case(
        "elsewhere than on a terminal nothing is cut, and a failure is on its line",
        EndedRequest(
            "GET", "/" + "a" * 99, "503", "failed", 0.1, "ada", ID, Error(Code.INTERNAL, "no")
        ),
        f"22:13:20.000  GET  /{'a' * 99}  503  100 ms  ada  c5f2…0042"
        "  error=no error_type=paceline.errors.Error\n",
        terminal=False,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_request_is_one_line(case: Case) -> None:
    log, buffer = new_log(terminal=case.terminal, form="pretty")
    lines = access_lines(log.bind(**case.bound), ())
    assert lines is not None
    lines.write("/a", case.request)
    assert plain(buffer) == case.shown


@pytest.mark.parametrize(
    ("grade", "colour"),
    [("ok", "32"), ("moved", "36"), ("refused", "33"), ("failed", "1;31")],
)
def test_the_status_has_the_colour_of_how_it_ended(grade: str, colour: str) -> None:
    log, buffer = new_log()
    lines = access_lines(log, ())
    assert lines is not None
    lines.write("/a", EndedRequest("GET", "/a", "299", grade, 0.1))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    text = buffer.getvalue().decode()
    assert f"\x1b[{colour}m299\x1b[0m" in text
    assert ("\x1b[1;31mGET " in text) is (grade == "failed")


def test_json_and_other_loggers_take_records() -> None:
    assert access_lines(new_log(form="json")[0], ()) is None
    assert access_lines(RecordingLog(), ()) is None


def identified(app: ASGIApp) -> ASGIApp:
    async def identify(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PRINCIPAL] = RecordedCaller()
        await app(scope, receive, send)

    return identify


class RecordedCaller:
    subject = "ada"
    scopes = frozenset[str]()
    expires_at = 0.0


async def ask(log: Log) -> None:
    """A good request, one that fails, a polled one and one that fails for its own deadline."""
    app = App(request_id(), access_log(log, debug_paths=["/ready"]), recover(log), identified)

    async def things() -> str:
        return "good"

    async def bad() -> str:
        raise ValueError("boom")

    async def ready() -> str:
        return "yes"

    routes = app.group()
    routes.get("/things", things)
    routes.get("/bad", bad)
    routes.get("/ready", ready)
    client = TestClient(app)
    for path in ("/things", "/bad", "/ready", "/nowhere"):
        await client.get(path, headers={"x-request-id": "r-1"})
    await asyncio.sleep(0)  # what a round of the loop has logged is written at its end


async def test_http_requests_are_lines_with_their_failures() -> None:
    log, buffer = new_log()
    await ask(log)
    text = re.sub(r"\d+\.\d+ ms", "N ms", plain(buffer))
    first, second, third, *trace, last = text.splitlines()
    assert first == "22:13:20.000  GET  /things  200  N ms  ada  r-1"
    assert second == "22:13:20.000  GET  /bad  500  N ms  ada  r-1"
    assert third == "    ValueError: boom"
    assert "test_edge_access_lines.py" in trace[-1]
    assert last == "22:13:20.000  GET  /nowhere  404  N ms  ada  r-1"


async def test_http_requests_are_the_usual_records_in_json() -> None:
    log, buffer = new_log(form="json")
    await ask(log)
    lines = buffer.getvalue().decode().splitlines()
    events = [re.findall(r'"msg":"([^"]*)"', line)[0] for line in lines]
    assert events == [
        "request completed",
        "request failed",
        "request completed",
        "request completed",
    ]
    ended = re.sub(r'"duration_ms":[\d.]+', '"duration_ms":1', lines[0])
    assert ended.endswith(
        '"msg":"request completed","request_id":"r-1","method":"GET","path":"/things",'
        '"status":200,"bytes":6,"duration_ms":1,"client":"127.0.0.1"}'
    )


METHOD = Method("/shop.v1.ThingService/GetThing")


async def call(log: Log, failure: Exception | None) -> None:
    async def endpoint(call: Call) -> bytes:
        call.caller = RecordedCaller()
        call.request_id = "r-1"
        if failure is not None:
            raise failure
        return b""

    inner = rpc_access_log(log)(rpc_recover(log)(endpoint, METHOD), METHOD)
    with context_fields(request_id="r-1"):
        await inner(Call(METHOD, b"", FakeContext(client="127.0.0.1")))
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("failure", "outcome", "below"),
    [
        (None, "OK", None),
        (Error(Code.NOT_FOUND, "no such thing"), "NOT_FOUND", None),
        (ValueError("boom"), "INTERNAL", "    ValueError: boom"),
    ],
)
async def test_grpc_calls_are_lines_with_their_failures(
    failure: Exception | None, outcome: str, below: str | None
) -> None:
    log, buffer = new_log()
    await call(log, failure)
    text = re.sub(r"\d+\.\d+ ms", "N ms", plain(buffer))
    first, *others = text.splitlines()
    assert first == f"22:13:20.000  grpc ThingService/GetThing  {outcome}  N ms  ada  r-1"
    assert (others[0] if others else None) == below


async def test_grpc_calls_are_the_usual_records_in_json() -> None:
    log, buffer = new_log(form="json")
    await call(log, ValueError("boom"))
    failed, ended = buffer.getvalue().decode().splitlines()
    assert '"msg":"call failed"' in failed
    assert '"msg":"call completed"' in ended


@pytest.mark.parametrize("client_imposed", [True, False])
def test_a_deadline_that_the_client_imposed_is_a_warning(*, client_imposed: bool) -> None:
    log, buffer = new_log()
    log.set_level("error")
    lines = access_lines(log, ())
    assert lines is not None
    failure = DeadlineExceeded("too slow", client_imposed=client_imposed)
    lines.write("/a", EndedRequest("GET", "/a", "504", "failed", 0.1, failure=failure))
    assert bool(buffer.getvalue()) is not client_imposed
