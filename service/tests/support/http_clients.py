"""The service without a socket, and its clients: ada, bob, and root, an operator of accounts.

Fixtures for a test module to import; `client_for` makes a client with other scopes.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from wired_service import config_on, wire_service

from paceline.http import App, TestClient, TestResponse
from paceline.testing import RecordingLog, make_token

OWNER: Final = (
    "accounts:read", "accounts:write", "transfers:write", "orders:read", "orders:write",
)  # fmt: skip
OPERATOR: Final = (*OWNER, "accounts:operate")


@asynccontextmanager
async def running_app(dsn: str, **settings: object) -> AsyncGenerator[App]:
    """The started service with these settings."""
    process = wire_service(config_on(dsn, **settings), RecordingLog())
    async with process.lifecycle:
        yield process.app


@pytest.fixture
async def app(migrated: str) -> AsyncGenerator[App]:
    async with running_app(migrated) as found:
        yield found


def client_for(app: App, subject: str, *scopes: str) -> TestClient:
    return TestClient(app, headers={"authorization": f"Bearer {make_token(subject, *scopes)}"})


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


def problem_of(answer: TestResponse) -> tuple[int, str]:
    """Its status and the type of its problem."""
    return answer.status, answer.json()["type"]
