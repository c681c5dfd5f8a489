"""Clients of accounts: ada, bob, and root, an operator. Fixtures for a test module to import."""

from typing import Final

import pytest
from http_clients import client_for

from paceline.http import App, TestClient

OWNER: Final = (
    "accounts:read", "accounts:write", "transfers:write", "orders:read", "orders:write",
)  # fmt: skip
OPERATOR: Final = (*OWNER, "accounts:operate")


@pytest.fixture
def ada(app: App) -> TestClient:
    return client_for(app, "ada", *OWNER)


@pytest.fixture
def bob(app: App) -> TestClient:
    return client_for(app, "bob", *OWNER)


@pytest.fixture
def operator(app: App) -> TestClient:
    return client_for(app, "root", *OPERATOR)


async def open_account(
    owner: TestClient, operator: TestClient | None = None, balance: int = 0
) -> str:
    """A new account of ``owner``, credited by ``operator``; gives its id."""
    answer = await owner.post("/api/v1/accounts", {})
    assert answer.status == 201, answer.body
    account: str = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/accounts/{account}"
    if balance:
        assert operator is not None
        credit = await operator.post(f"/api/v1/accounts/{account}/credits", {"amount": balance})
        assert credit.status == 201, credit.body
    return account
