"""Metrics of requests and calls: by pattern and code, in a number that clients cannot raise."""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from rpc_echo import FakeContext

from paceline.errors import Code, NotFound
from paceline.grpc.call import Call, ErrorStatus, Method
from paceline.grpc.interceptors import metrics as measured_calls
from paceline.http.app import App
from paceline.http.binding import Path
from paceline.http.middleware import metrics as measured
from paceline.http.testing import TestClient
from paceline.metrics.registry import Metrics


def labels_of(method: str, status: str, route: str) -> str:
    return f'{{http_request_method="{method}",http_route="{route}",http_response_status_code="{status}"}}'


async def counts(metrics: Metrics, name: str) -> dict[str, float]:
    """Each series of a histogram, and its count."""
    content, _ = await metrics.scrape()
    lines = [line.rsplit(" ", 1) for line in content.decode().splitlines()]
    start = f"{name}_count"
    return {
        line[0].removeprefix(start): float(line[1]) for line in lines if line[0].startswith(start)
    }


async def http_counts(metrics: Metrics) -> dict[str, float]:
    return await counts(metrics, "http_server_request_duration_seconds")


async def get_thing(id: Path[str]) -> str:  # noqa: A002 - the route's name for it
    if id == "none":
        raise NotFound
    if id == "bug":
        raise RuntimeError("a bug")
    return id


def application(metrics: Metrics) -> TestClient:
    app = App(measured(metrics))
    app.group("/things").get("/{id}", get_thing)
    return TestClient(app)


@dataclass(frozen=True, slots=True)
class CountedRequest:
    id: str
    method: str
    path: str
    labels: tuple[str, str, str]


@pytest.mark.parametrize(
    "case",
    [
        CountedRequest("a route", "GET", "/things/7", ("GET", "200", "/things/{id}")),
        CountedRequest("a refusal", "GET", "/things/none", ("GET", "404", "/things/{id}")),
        CountedRequest("HEAD", "HEAD", "/things/7", ("HEAD", "200", "/things/{id}")),
        CountedRequest("no route", "GET", "/secret/path", ("GET", "404", "unmatched")),
        CountedRequest("a method it has not", "PUT", "/things/7", ("PUT", "405", "unmatched")),
        CountedRequest(
            "a method nobody knows", "PROPFIND", "/things/7", ("_OTHER", "405", "unmatched")
        ),
    ],
    ids=lambda case: case.id,
)
async def test_a_request_is_counted_by_pattern_method_and_status(case: CountedRequest) -> None:
    metrics = Metrics(version="1")
    await application(metrics).request(case.method, case.path)
    assert await http_counts(metrics) == {labels_of(*case.labels): 1}


async def test_an_exception_is_counted_as_500_and_passed_on() -> None:
    metrics = Metrics(version="1")
    with pytest.raises(RuntimeError):
        await application(metrics).request("GET", "/things/bug")
    assert await http_counts(metrics) == {labels_of("GET", "500", "/things/{id}"): 1}


async def test_clients_cannot_make_series() -> None:
    metrics = Metrics(version="1")
    client = application(metrics)
    for number in range(50):
        await client.request("GET", f"/things/{number}")
        await client.request("GET", f"/{number}")
        await client.request(f"M{number}", "/things/1")
    assert len(await http_counts(metrics)) == 3


async def test_a_request_in_flight_is_active_and_a_disconnected_one_is_499() -> None:
    metrics = Metrics(version="1")
    entered = asyncio.Event()

    async def hang() -> str:
        entered.set()
        return await asyncio.Future()

    app = App(measured(metrics))
    app.group().get("/slow", hang)
    task = asyncio.create_task(TestClient(app).request("GET", "/slow"))
    await entered.wait()
    assert b"\nhttp_server_active_requests 1.0\n" in (await metrics.scrape())[0]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert b"\nhttp_server_active_requests 0.0\n" in (await metrics.scrape())[0]
    assert await http_counts(metrics) == {labels_of("GET", "499", "/slow"): 1}


@dataclass(frozen=True, slots=True)
class CountedCall:
    id: str
    code: Code
    refusal: ErrorStatus | None = None
    raises: type[BaseException] | None = None
    remaining: float | None = None


@pytest.mark.parametrize(
    "case",
    [
        CountedCall("well", Code.OK),
        CountedCall("refused", Code.NOT_FOUND, ErrorStatus(Code.NOT_FOUND, "none", b"")),
        CountedCall("left", Code.CANCELLED, raises=asyncio.CancelledError),
        CountedCall(
            "too late", Code.DEADLINE_EXCEEDED, raises=asyncio.CancelledError, remaining=0.0
        ),
        CountedCall("raising", Code.INTERNAL, raises=RuntimeError),
    ],
    ids=lambda case: case.id,
)
async def test_a_call_is_counted_by_method_and_code(case: CountedCall) -> None:
    metrics = Metrics(version="1")
    method = Method("/my.v1.Things/GetThing")

    async def endpoint(call: Call) -> bytes | None:
        call.error = case.refusal
        if case.raises is not None:
            raise case.raises
        return b""

    call = Call(method, b"", FakeContext(left=case.remaining))
    with pytest.raises(case.raises) if case.raises else nullcontext():
        await measured_calls(metrics)(endpoint, method)(call)
    labels = f'{{rpc_method="my.v1.Things/GetThing",rpc_response_status_code="{case.code.name}"}}'
    assert await counts(metrics, "rpc_server_call_duration_seconds") == {labels: 1}
    assert b"\npaceline_rpc_active_calls 0.0\n" in (await metrics.scrape())[0]
