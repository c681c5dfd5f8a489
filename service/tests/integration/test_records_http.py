"""Records over HTTP through the whole service, in one process on a real PostgreSQL.

Everything but the socket is real: `build` wires it as in production, the in-process client speaks
ASGI to it.
"""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from http_clients import client_for, running_app
from record_samples import DRAFT, MISSING, OTHER, WRONG, plain

from paceline.http import App, TestClient, TestResponse

pytestmark = pytest.mark.integration

RECORDS = "/api/v1/records"


@pytest.fixture
async def app(migrated: str) -> AsyncGenerator[App]:
    async with running_app(migrated) as found:
        yield found


@pytest.fixture
def client(app: App) -> TestClient:
    return client_for(app, "ada", "records:read", "records:write")


async def create(client: TestClient, body: dict[str, Any]) -> TestResponse:
    answer = await client.post(RECORDS, body)
    assert answer.status == 201, answer.body
    return answer


async def test_a_record_is_created_read_replaced_and_deleted(client: TestClient) -> None:
    created = await create(client, plain(DRAFT))
    record = created.json()
    assert plain(DRAFT).items() <= record.items()
    assert (record["version"], created.headers["etag"]) == (1, '"1"')
    assert record["created_at"] == record["updated_at"]
    place = created.headers["location"]
    assert place == f"{RECORDS}/{record['id']}"

    got = await client.get(place)
    assert (got.status, got.json(), got.headers["etag"]) == (200, record, '"1"')

    change = plain(OTHER)
    replaced = await client.request("PUT", place, json=change, headers={"if-match": '"1"'})
    assert (replaced.status, replaced.headers["etag"]) == (200, '"2"')
    assert change.items() <= replaced.json().items()

    stale = await client.request("PUT", place, json=change, headers={"if-match": '"1"'})
    assert (stale.status, stale.json()["type"]) == (412, "urn:problem:stale-version")
    assert (await client.request("DELETE", place, headers={"if-match": '"1"'})).status == 412

    weak = await client.request("PUT", place, json=change, headers={"if-match": 'W/"2"'})
    assert (weak.status, "a proxy that compresses" in weak.json()["detail"]) == (412, True)

    known = await client.get(place, headers={"if-none-match": '"2"'})
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", '"2"')
    assert (await client.get(place, headers={"if-none-match": '"1"'})).status == 200
    assert (await client.get(place, headers={"if-match": '"1"'})).status == 412

    only_new = {"if-none-match": "*"}
    assert (await client.request("PUT", place, json=change, headers=only_new)).status == 412
    assert (await client.request("DELETE", place, headers=only_new)).status == 412
    nowhere = f"{RECORDS}/00000000-0000-7000-8000-000000000000"
    assert (await client.request("PUT", nowhere, json=change, headers=only_new)).status == 404
    assert (await client.get(place)).headers["etag"] == '"2"'

    assert (await client.request("DELETE", place, headers={"if-match": '"2"'})).status == 204
    gone = await client.get(place)
    assert (gone.status, gone.json()["type"]) == (404, "urn:problem:record-not-found")


async def test_a_record_is_created_once_for_each_idempotency_key(
    app: App, client: TestClient
) -> None:
    async def post(caller: TestClient, body: dict[str, Any], key: str = "k1") -> TestResponse:
        headers = {"idempotency-key": key}
        return await caller.request("POST", RECORDS, json=body, headers=headers)

    first = await post(client, plain(DRAFT))
    place = first.headers["location"]
    assert (await client.request("PUT", place, json=plain(OTHER))).status == 200
    again = await post(client, plain(DRAFT))
    assert (again.status, again.body) == (201, first.body)
    assert (again.headers["location"], again.headers["etag"]) == (place, '"1"')
    reused = await post(client, plain(OTHER))
    assert (reused.status, reused.json()["type"]) == (422, "urn:problem:idempotency-key-reused")
    assert (await post(client, plain(DRAFT), key="a b")).status == 422
    bob = client_for(app, "bob", "records:write")
    assert (await post(bob, plain(OTHER))).status == 201, "a key is its subject's own"
    assert len((await client.get(RECORDS)).json()["records"]) == 2


async def test_a_listing_goes_page_by_page(client: TestClient) -> None:
    made = [(await create(client, plain(DRAFT))).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"{RECORDS}?limit=2{cursor}")).json()
        seen += [record["id"] for record in page["records"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: str(value)[:20])
async def test_a_value_that_breaks_a_rule_is_refused_by_field(
    client: TestClient, field: str, value: object
) -> None:
    answer = await client.post(RECORDS, {**plain(DRAFT), field: value})
    assert answer.status == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"].split("/")[1] == field
    assert (await client.get(RECORDS)).json()["records"] == []


@pytest.mark.parametrize("query", ["cursor=rubbish", f"cursor={'A' * 28}", "limit=101", "offset=1"])
async def test_a_listing_with_a_bad_parameter_is_refused(client: TestClient, query: str) -> None:
    answer = await client.get(f"{RECORDS}?{query}")
    assert answer.status == 422
    (error,) = answer.json()["errors"]
    assert error["parameter"] == f"query {query.partition('=')[0]}"


async def test_a_record_that_is_not_there_is_not_found(client: TestClient) -> None:
    place = f"{RECORDS}/{MISSING}"
    assert (await client.get(place)).status == 404
    assert (await client.request("PUT", place, json=plain(DRAFT))).status == 404
    assert (await client.request("DELETE", place)).status == 404
    assert (await client.get(f"{RECORDS}/42")).status == 422


async def test_reading_and_writing_need_their_scopes(app: App) -> None:
    reader, writer = client_for(app, "a", "records:read"), client_for(app, "a", "records:write")
    assert (await reader.get(RECORDS)).status == 200
    assert (await reader.post(RECORDS, plain(DRAFT))).status == 403
    assert (await writer.post(RECORDS, plain(DRAFT))).status == 201
    assert (await writer.get(RECORDS)).status == 403
    assert (await client_for(app, "a").get(RECORDS)).status == 403
