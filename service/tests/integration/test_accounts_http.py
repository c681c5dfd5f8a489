"""Accounts and transfers over HTTP through the whole service: owners, refusals, keys."""

import asyncio
from dataclasses import dataclass

import pytest
from account_clients import OPERATOR, ada, bob, open_account, operator
from http_clients import app, client_for, problem_of
from wired_service import config_on, wire_service

from myservice.domain.accounts import MAX_AMOUNT
from paceline.http import TestClient, TestResponse
from paceline.testing import RecordingLog

__all__ = ["ada", "app", "bob", "operator"]
pytestmark = pytest.mark.integration

ACCOUNTS, TRANSFERS = "/api/v1/accounts", "/api/v1/transfers"
MISSING = "0192f0a0-0000-7000-8000-00000000dead"


async def transfer(
    client: TestClient, source: str, target: str, amount: object = 10, *, key: str | None = None
) -> TestResponse:
    body = {"from": source, "to": target, "amount": amount, "reference": "rent"}
    headers = {"idempotency-key": key} if key else {}
    return await client.request("POST", TRANSFERS, json=body, headers=headers)


async def balance(operator: TestClient, account: str) -> int:
    found: int = (await operator.get(f"{ACCOUNTS}/{account}")).json()["balance"]
    return found


async def test_a_transfer_answers_with_both_new_balances(
    ada: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(ada, operator)
    answer = await transfer(ada, a, b, 30)
    assert answer.status == 201
    result = answer.json()
    assert {name: result[name] for name in result if name not in ("id", "created_at")} == {
        "from": a, "to": b, "amount": 30, "reference": "rent", "from_balance": 70, "to_balance": 30,
    }  # fmt: skip
    assert (await ada.get(f"{ACCOUNTS}/{b}")).json()["balance"] == 30


async def test_the_balance_of_anothers_account_is_not_in_the_answer(
    ada: TestClient, bob: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(bob, operator, 5)
    assert (await ada.get(f"{ACCOUNTS}/{b}")).status == 403
    for key in (None, "k", "k"):
        result = (await transfer(ada, a, b, 1, key=key)).json()
        assert result["to_balance"] is None
    assert (await transfer(operator, a, b, 1)).json()["to_balance"] == 8


async def test_an_account_is_used_by_its_owner_and_by_operators_only(
    ada: TestClient, bob: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(bob, operator)
    denied = (403, "urn:problem:not-the-owner")
    assert problem_of(await bob.get(f"{ACCOUNTS}/{a}")) == denied
    assert problem_of(await transfer(bob, a, b)) == denied
    assert problem_of(await ada.post(ACCOUNTS, {"owner": "bob"})) == denied
    assert (await ada.post(f"{ACCOUNTS}/{a}/credits", {"amount": 1})).status == 403
    assert (await transfer(operator, a, b, 1)).status == 201
    for_carol = await operator.post(ACCOUNTS, {"owner": "carol"})
    assert for_carol.json()["owner"] == "carol"
    assert await balance(operator, a) == 99


async def test_an_insufficient_balance_is_a_conflict_and_moves_nothing(
    ada: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada, operator, 9), await open_account(ada, operator)
    assert problem_of(await transfer(ada, a, b)) == (409, "urn:problem:insufficient-balance")
    assert [await balance(operator, one) for one in (a, b)] == [9, 0]


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
        Refused("far too large", 10**30),
        Refused("a fraction", 0.5),
        Refused("text", "10"),
        Refused("nothing", None),
        Refused("the same account", 1, pointer="#/to", same=True),
    ],
    ids=lambda case: case.id,
)
async def test_a_bad_amount_or_target_is_refused_by_its_field(
    ada: TestClient, operator: TestClient, case: Refused
) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(ada, operator)
    answer = await transfer(ada, a, a if case.same else b, case.amount)
    assert problem_of(answer) == (422, "urn:problem:validation")
    assert answer.json()["errors"][0]["pointer"] == case.pointer
    assert await balance(operator, a) == 100


async def test_unknown_accounts_are_not_found(ada: TestClient, operator: TestClient) -> None:
    a = await open_account(ada, operator, 100)
    missing = (404, "urn:problem:account-not-found")
    assert problem_of(await transfer(ada, a, MISSING)) == missing
    assert problem_of(await transfer(ada, MISSING, a)) == missing
    assert problem_of(await ada.get(f"{ACCOUNTS}/{MISSING}")) == missing
    assert (
        problem_of(await operator.post(f"{ACCOUNTS}/{MISSING}/credits", {"amount": 1})) == missing
    )


async def test_a_balance_cannot_overflow(ada: TestClient, operator: TestClient) -> None:
    a, full = await open_account(ada, operator, 1), await open_account(ada, operator, MAX_AMOUNT)
    overflow = (409, "urn:problem:balance-overflow")
    assert problem_of(await transfer(ada, a, full, 1)) == overflow
    assert problem_of(await operator.post(f"{ACCOUNTS}/{full}/credits", {"amount": 1})) == overflow


async def test_an_account_is_opened_once_for_each_idempotency_key(
    ada: TestClient, operator: TestClient
) -> None:
    async def post(caller: TestClient, body: object) -> TestResponse:
        headers = {"idempotency-key": "k1"}
        return await caller.request("POST", ACCOUNTS, json=body, headers=headers)

    first = await post(ada, {})
    account = first.json()["id"]
    assert (await operator.post(f"{ACCOUNTS}/{account}/credits", {"amount": 5})).status == 201
    again = await post(ada, {})
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["location"] == first.headers["location"]
    assert problem_of(await post(ada, {"owner": "ada"})) == (
        422,
        "urn:problem:idempotency-key-reused",
    )
    assert (await post(operator, {"owner": "ada"})).json()["id"] != account


async def test_a_request_with_a_key_may_be_sent_again(
    ada: TestClient, bob: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(bob, operator, 100)
    first = await transfer(ada, a, b, 30, key="k1")
    again = await transfer(ada, a, b, 30, key="k1")
    assert (again.status, again.body) == (first.status, first.body)
    assert problem_of(await transfer(ada, a, b, 31, key="k1")) == (
        422,
        "urn:problem:idempotency-key-reused",
    )
    assert (await transfer(bob, b, a, 1, key="k1")).status == 201, "a key is its subject's own"
    assert await balance(operator, a) == 71


async def test_the_first_answer_is_given_again_after_a_restart(migrated: str) -> None:
    config = config_on(migrated)
    answers: list[bytes] = []
    pair: tuple[str, str] | None = None
    for _ in range(2):
        process = wire_service(config, RecordingLog())
        async with process.lifecycle:
            ada = client_for(process.app, "ada", *OPERATOR)
            pair = pair or (await open_account(ada, ada, 100), await open_account(ada, ada))
            answers.append((await transfer(ada, *pair, 30, key="k1")).body)
    assert answers[0] == answers[1]


async def test_a_credit_with_a_key_is_given_once(ada: TestClient, operator: TestClient) -> None:
    a = await open_account(ada, operator)
    for _ in range(2):
        answer = await operator.request(
            "POST",
            f"{ACCOUNTS}/{a}/credits",
            json={"amount": 5},
            headers={"idempotency-key": "gift"},
        )
        assert (answer.status, answer.json()["to_balance"]) == (201, 5)
    assert await balance(operator, a) == 5


async def test_the_same_key_while_in_flight_is_a_conflict(
    ada: TestClient, operator: TestClient
) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(ada, operator)
    answers = await asyncio.gather(*(transfer(ada, a, b, 10, key="k1") for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409]
    conflict = next(answer for answer in answers if answer.status == 409)
    assert conflict.json()["type"] == "urn:problem:idempotency-key-in-flight"
    assert await balance(operator, a) == 90


@pytest.mark.parametrize("key", ["", "two words", "clé", "x" * 256])
async def test_a_malformed_key_is_refused(ada: TestClient, operator: TestClient, key: str) -> None:
    a, b = await open_account(ada, operator, 100), await open_account(ada, operator)
    body = {"from": a, "to": b, "amount": 1, "reference": ""}
    answer = await ada.request("POST", TRANSFERS, json=body, headers={"idempotency-key": key})
    assert answer.status == 422
