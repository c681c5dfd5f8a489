"""Orders over HTTP through the whole service: placing, reading, owners, scopes, keys."""

from dataclasses import dataclass

import pytest
from account_clients import ada, bob, open_account, operator
from http_clients import app, client_for, problem_of

from myservice.domain.accounts import MAX_AMOUNT
from paceline.http import App, TestClient, TestResponse

__all__ = ["ada", "app", "bob", "operator"]
pytestmark = pytest.mark.integration

ORDERS = "/api/v1/orders"
MISSING = "0192f0a0-0000-7000-8000-00000000dead"


async def place(
    client: TestClient, source: str, target: str, amount: object = 10, *, key: str | None = None
) -> TestResponse:
    body = {"from": source, "to": target, "amount": amount, "reference": "rent"}
    headers = {"idempotency-key": key} if key else {}
    return await client.request("POST", ORDERS, json=body, headers=headers)


async def test_an_order_is_accepted_and_pending_at_its_location(
    ada: TestClient, bob: TestClient
) -> None:
    a, b = await open_account(ada), await open_account(bob)
    answer = await place(ada, a, b, 30)
    assert answer.status == 202
    result = answer.json()
    assert {name: result[name] for name in result if name not in ("id", "created_at")} == {
        "placed_by": "ada", "from": a, "to": b, "amount": 30, "reference": "rent",
        "status": "pending", "reason": None, "transfer_id": None, "decided_at": None,
    }  # fmt: skip
    assert answer.headers["location"] == f"{ORDERS}/{result['id']}"
    found = await ada.get(answer.headers["location"])
    assert (found.status, found.json()) == (200, result)


async def test_an_order_is_read_by_its_subject_and_by_operators_only(
    ada: TestClient, bob: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada), await open_account(bob)
    assert problem_of(await place(bob, a, b)) == (403, "urn:problem:not-the-owner")
    mine = (await place(ada, a, b)).headers["location"]
    assert problem_of(await bob.get(mine)) == (403, "urn:problem:not-your-order")
    assert (await operator.get(mine)).status == 200
    for_ada = await place(operator, a, b)
    assert (for_ada.status, for_ada.json()["placed_by"]) == (202, "root")
    assert (await ada.get(for_ada.headers["location"])).status == 403


async def test_placing_and_reading_need_their_scopes(app: App, ada: TestClient) -> None:
    a, b = await open_account(ada), await open_account(ada)
    reader, writer = client_for(app, "ada", "orders:read"), client_for(app, "ada", "orders:write")
    assert (await place(reader, a, b)).status == 403
    placed = await place(writer, a, b)
    assert placed.status == 202
    assert (await writer.get(placed.headers["location"])).status == 403
    assert (await reader.get(placed.headers["location"])).status == 200
    assert (await place(TestClient(app), a, b)).status == 401


async def test_unknown_accounts_and_orders_are_not_found(ada: TestClient) -> None:
    a = await open_account(ada)
    missing = (404, "urn:problem:account-not-found")
    assert problem_of(await place(ada, a, MISSING)) == missing
    assert problem_of(await place(ada, MISSING, a)) == missing
    assert problem_of(await ada.get(f"{ORDERS}/{MISSING}")) == (404, "urn:problem:order-not-found")
    assert (await ada.get(f"{ORDERS}/nothing")).status in {404, 422}


@dataclass(frozen=True)
class Refused:
    id: str
    amount: object
    pointer: str = "#/amount"
    same: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Refused("zero", 0),
        Refused("negative", -1),
        Refused("too large", MAX_AMOUNT + 1),
        Refused("a fraction", 0.5),
        Refused("text", "10"),
        Refused("the same account", 1, pointer="#/to", same=True),
    ],
    ids=lambda case: case.id,
)
async def test_a_bad_amount_or_target_is_refused_by_its_field(
    ada: TestClient, case: Refused
) -> None:
    a, b = await open_account(ada), await open_account(ada)
    answer = await place(ada, a, a if case.same else b, case.amount)
    assert problem_of(answer) == (422, "urn:problem:validation")
    assert answer.json()["errors"][0]["pointer"] == case.pointer


async def test_a_request_with_a_key_may_be_sent_again(ada: TestClient, bob: TestClient) -> None:
    a, b = await open_account(ada), await open_account(bob)
    first = await place(ada, a, b, 30, key="k1")
    again = await place(ada, a, b, 30, key="k1")
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["location"] == first.headers["location"]
    assert problem_of(await place(ada, a, b, 31, key="k1")) == (
        422,
        "urn:problem:idempotency-key-reused",
    )
    assert (await place(bob, b, a, 1, key="k1")).status == 202, "a key is its subject's own"
