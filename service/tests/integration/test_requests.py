"""What requests meet: rules, tokens, probes, cancellation, and the document, on the whole service.

Everything but the socket is real: `build` wires it as in production, the in-process client speaks
ASGI to it.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from wired_service import config_on, wire_service

from paceline.commands import Process
from paceline.http import TestClient, TestResponse
from paceline.postgres import connect
from paceline.testing import (
    TEST_SECRET,
    ManualClock,
    RecordingLog,
    cancel_at_every_await,
    make_token,
)

pytestmark = pytest.mark.integration

MISSING = "/api/v1/records/0192f0a0-0000-7000-8000-00000000dead"
RECORDS = "/api/v1/records"
DRAFT = {"name": "first", "metadata": {"colour": "blue"}, "data": {"n": [1, 2.5, None]}}


def token(*scopes: str, secret: str = TEST_SECRET, issuer: str | None = None) -> str:
    return make_token("ada", *scopes, secret=secret, issuer=issuer)


def bearer(value: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value}"}


@dataclass
class Service:
    """The started service and its log."""

    process: Process
    log: RecordingLog

    def client(self, *scopes: str) -> TestClient:
        wanted = scopes or ("records:read", "records:write")
        return TestClient(self.process.app, headers=bearer(token(*wanted)))


@pytest.fixture
async def service(migrated: str) -> AsyncGenerator[Service]:
    log = RecordingLog()
    process = wire_service(config_on(migrated), log)
    async with process.lifecycle:
        yield Service(process, log)


@pytest.fixture
def client(service: Service) -> TestClient:
    return service.client()


async def create(client: TestClient, **changes: object) -> TestResponse:
    answer = await client.post(RECORDS, {**DRAFT, **changes})
    assert answer.status == 201, answer.body
    return answer


async def test_a_listing_can_be_filtered_by_the_beginning_of_names(client: TestClient) -> None:
    names = [f"a{n}" for n in range(5)]
    for name in [*names, "b"]:
        await create(client, name=name)
    seen: list[str] = []
    target = f"{RECORDS}?prefix=a&limit=2"
    cursor = ""
    while True:
        page = (await client.get(f"{target}{cursor}")).json()
        seen += [record["name"] for record in page["records"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == names


def nested(levels: int) -> list[object]:
    return [nested(levels - 1)] if levels > 1 else []


@dataclass(frozen=True)
class Bad:
    id: str
    method: str
    target: str
    status: int
    body: object = None
    where: str = ""


BAD = [
    Bad("bad UUID", "GET", f"{RECORDS}/42", 422, where="path id"),
    Bad("unknown id", "GET", MISSING, 404),
    Bad("replace unknown", "PUT", MISSING, 404, {"name": "a"}),
    Bad("delete unknown", "DELETE", MISSING, 404),
    Bad("bad cursor", "GET", f"{RECORDS}?cursor=rubbish", 422, where="query cursor"),
    Bad("a cursor of no listing", "GET", f"{RECORDS}?cursor={'A' * 28}", 422, where="query cursor"),
    Bad("limit too high", "GET", f"{RECORDS}?limit=101", 422, where="query limit"),
    Bad("NUL in the prefix", "GET", f"{RECORDS}?prefix=a%00", 422, where="query prefix"),
    Bad("unknown parameter", "GET", f"{RECORDS}?offset=1", 422, where="query offset"),
    Bad("no name", "POST", RECORDS, 422, {}, "#/name"),
    Bad("empty name", "POST", RECORDS, 422, {"name": ""}, "#/name"),
    Bad("NUL in the name", "POST", RECORDS, 422, {"name": "a\0"}, "#/name"),
    Bad("long name", "POST", RECORDS, 422, {"name": "a" * 201}, "#/name"),
    Bad("wrong metadata", "POST", RECORDS, 422, {"name": "a", "metadata": {"n": 1}}, "#/metadata"),
    Bad("own id", "POST", RECORDS, 422, {"name": "a", "id": "1"}, "#/id"),
    Bad("deep data", "POST", RECORDS, 422, {"name": "a", "data": nested(33)}, "#/data"),
    Bad("another method", "PATCH", RECORDS, 405),
    Bad("another path", "GET", "/api/v1/recordz", 404),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
async def test_a_bad_request_is_refused_with_a_problem(client: TestClient, case: Bad) -> None:
    if case.body is None:
        answer = await client.request(case.method, case.target)
    else:
        answer = await client.request(case.method, case.target, json=case.body)
    problem = answer.json()
    assert (answer.status, problem["status"]) == (case.status, case.status)
    assert answer.headers["content-type"] == "application/problem+json"
    if case.where:
        (error,) = problem["errors"]
        assert error.get("pointer", error.get("parameter")) == case.where


async def test_a_bad_request_stores_and_logs_nothing(service: Service, client: TestClient) -> None:
    for case in BAD:
        await client.request(case.method, case.target, json=case.body)
    assert (await client.get(RECORDS)).json()["records"] == []
    assert service.log.events("error") == []


FOREIGN = "w7Xy2kQp9ZtRb4NvLs8HcJm3FgUd6AeT"
OLD = make_token("ada", "records:read", clock=ManualClock(1e9))


@pytest.mark.parametrize(
    "value",
    ["", "rubbish", "a.b.c", token("records:read", secret=FOREIGN), OLD],
    ids=["empty", "rubbish", "three parts", "foreign", "expired"],
)
async def test_without_a_valid_token_a_request_is_refused(service: Service, value: str) -> None:
    answer = await TestClient(service.process.app).get(RECORDS, headers=bearer(value))
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert value not in answer.body.decode() or not value


async def test_probes_need_no_token_and_health_no_database(service: Service, migrated: str) -> None:
    client = TestClient(service.process.app)
    ready = await client.get("/ready")
    assert (ready.status, ready.json()["status"]) == (200, "ready")
    assert [check["name"] for check in ready.json()["checks"]] == ["postgres"]
    await service.process.lifecycle.stop()
    assert (await client.get("/health")).json() == {"status": "ok"}
    drained = await client.get("/ready")
    assert (drained.status, drained.json()["status"]) == (503, "draining")


async def test_a_request_cancelled_anywhere_leaves_the_pool_whole(
    service: Service, migrated: str
) -> None:
    client = service.client()
    place = (await create(client)).headers["location"]
    watcher = await connect(migrated)

    async def work() -> None:
        await create(client, name="cancelled")
        await client.get(place)
        await client.get(RECORDS)
        await client.request("PUT", place, json=DRAFT)

    async def check() -> None:
        async with asyncio.timeout(10):
            while await watcher.fetchval(  # noqa: ASYNC110 - another process's state
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND state <> 'idle' AND pid <> pg_backend_pid()"
            ):
                await asyncio.sleep(0.01)
        assert (await client.get(place)).status == 200

    try:
        places = await cancel_at_every_await(work, check)
    finally:
        await watcher.close()
    assert places >= 4, "each request waits at least once"
    assert set(service.log.events("error")) == set()


async def test_the_openapi_document_and_its_page_are_served(service: Service) -> None:
    client = TestClient(service.process.app)
    spec = (await client.get("/openapi.json")).json()
    assert spec["openapi"] == "3.1.0"
    operations = {
        (method.upper(), path) for path, methods in spec["paths"].items() for method in methods
    }
    one = "/api/v1/records/{id}"
    assert operations >= {
        ("GET", "/api/v1/records"),
        ("POST", "/api/v1/records"),
        ("GET", one),
        ("PUT", one),
        ("DELETE", one),
        # paceline: only full {
        ("GET", "/api/v1/records/updates"),
        ("POST", "/api/v1/accounts"),
        ("GET", "/api/v1/accounts/{id}"),
        ("POST", "/api/v1/accounts/{id}/credits"),
        ("POST", "/api/v1/transfers"),
        ("POST", "/api/v1/orders"),
        ("GET", "/api/v1/orders/{id}"),
        # paceline: }
        ("GET", "/health"),
        ("GET", "/ready"),
    }
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    shown = page.body.replace(b"http://www.w3.org/2000/svg", b"")  # a name, not an address
    assert b"http://" not in shown
    assert b"https://" not in shown
