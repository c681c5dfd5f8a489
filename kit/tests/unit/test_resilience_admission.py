"""Admission over HTTP, gRPC and messages: what is refused costs nothing, the rest is counted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from rpc_echo import FakeContext

from paceline.errors import Code, Error, Overloaded
from paceline.grpc.call import Call, Method
from paceline.grpc.interceptors import shed as rpc_shed
from paceline.http.app import App
from paceline.http.events import Events, event
from paceline.http.middleware import classify_by_method, shed
from paceline.http.testing import TestClient
from paceline.resilience.load_shedding import Admission, LoadShedder, Priority
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

UNARY = Method("/shop.v1.Shop/Buy")
STREAM = Method("/shop.v1.Shop/Watch", streams=True)


def make_admission(*, limit: int = 1) -> tuple[Admission, LoadShedder]:
    shedder = LoadShedder(ManualClock(), RecordingLog(), max_in_flight=limit, target_delay=0)
    return Admission(shedder, "test"), shedder


async def nothing() -> None:
    return None


async def failing() -> None:
    raise RuntimeError


def client_of(admission: Admission) -> TestClient:
    app = App(shed(admission, classify_by_method(health=["/health"], background=["/report"])))
    group = app.group()
    for path in ("/", "/health", "/report"):
        group.get(path, nothing)
    group.post("/", nothing)
    group.get("/bug", failing)
    return TestClient(app)


async def test_a_refusal_is_a_problem_that_says_when_to_retry() -> None:
    admission, shedder = make_admission()
    shedder.admit()
    answer = await client_of(admission).get("/")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:problem:overloaded"
    head = await client_of(admission).request("HEAD", "/")
    assert (head.status, head.body) == (503, b"")


async def test_health_checks_are_never_refused() -> None:
    admission, shedder = make_admission()
    for _ in range(5):
        shedder.admit()
    assert (await client_of(admission).get("/health")).status == 200


async def test_reads_are_refused_before_writes_and_background_work_before_reads() -> None:
    admission, shedder = make_admission(limit=10)
    client = client_of(admission)
    passed: dict[int, tuple[int, int, int]] = {}
    for in_flight in range(11):
        passed[in_flight] = (
            (await client.get("/report")).status,
            (await client.get("/")).status,
            (await client.request("POST", "/")).status,
        )
        shedder.admit()
    assert [passed[5], passed[6], passed[9], passed[10]] == [
        (200, 200, 200),
        (503, 200, 200),
        (503, 503, 200),
        (503, 503, 503),
    ]


async def test_a_request_is_counted_out_also_after_a_failure_or_a_cancellation() -> None:
    admission, shedder = make_admission()
    client = client_of(admission)
    with pytest.raises(RuntimeError):
        await client.get("/bug")

    async def for_ever() -> None:
        await asyncio.Event().wait()

    app = App(shed(admission, classify_by_method()))
    app.group().get("/", for_ever)
    task = asyncio.create_task(TestClient(app).get("/"))
    await asyncio.sleep(0)
    assert shedder.stats.in_flight == 1
    task.cancel()
    await asyncio.wait([task])
    assert shedder.stats.in_flight == 0


async def test_a_stream_counts_until_it_begins() -> None:
    admission, shedder = make_admission()
    counted: list[int] = []

    @asynccontextmanager
    async def source() -> AsyncGenerator[AsyncIterator[int]]:
        counted.append(shedder.stats.in_flight)

        async def items() -> AsyncGenerator[int]:
            counted.append(shedder.stats.in_flight)
            yield 1

        yield items()

    async def watch() -> Events[int]:
        return Events(source(), lambda n: event(msgspec.json.encode(n)))

    app = App(shed(admission, classify_by_method()))
    app.group().get("/", watch)
    assert (await TestClient(app).get("/", headers={"accept": "text/event-stream"})).status == 200
    assert counted == [1, 0]
    assert shedder.stats.in_flight == 0


async def test_an_overload_raised_by_a_handler_is_503_too() -> None:
    async def full() -> None:
        raise Overloaded("no capacity for another page", retry_after=2.5)

    app = App()
    app.group().get("/", full)
    answer = await TestClient(app).get("/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")


def call_of(method: Method) -> Call:
    return Call(method, b"", FakeContext([], left=None))


async def test_a_refused_call_is_resource_exhausted_with_retry_info_and_nothing_is_run() -> None:
    admission, shedder = make_admission()
    shedder.admit()

    async def endpoint(call: Call) -> bytes | None:
        raise AssertionError("it was run")

    call = call_of(UNARY)
    interceptor = rpc_shed(admission, lambda _: Priority.READ, domain="shop")
    assert await interceptor(endpoint, UNARY)(call) is None
    assert call.error is not None
    assert call.error.code is Code.RESOURCE_EXHAUSTED
    status = Status.FromString(call.error.details)
    info, retry = ErrorInfo(), RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert (info.reason, info.domain, retry.retry_delay.seconds) == ("OVERLOADED", "shop", 1)


@pytest.mark.parametrize(("method", "counted"), [(UNARY, 1), (STREAM, 0)], ids=["unary", "stream"])
async def test_a_call_counts_while_it_is_answered_and_a_stream_does_not(
    method: Method, counted: int
) -> None:
    admission, shedder = make_admission(limit=5)
    seen: list[int] = []

    async def endpoint(call: Call) -> bytes | None:
        seen.append(shedder.stats.in_flight)
        raise Error(Code.NOT_FOUND, "no")

    with pytest.raises(Error):
        await rpc_shed(admission, lambda _: Priority.READ)(endpoint, method)(call_of(method))
    assert seen == [counted]
    assert shedder.stats.in_flight == 0
    assert admission.stats.admitted == 1
