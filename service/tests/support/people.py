"""The whole service without a socket, and who calls it: ada, bob, and root, who operates accounts.

Fixtures for a test module to import; ``client`` makes a caller with other scopes.
"""

from collections.abc import AsyncGenerator
from typing import Final

import pytest
from recording_log import RecordingLog

from myservice.config import Config
from myservice.main import build
from paceline.auth import issue_token
from paceline.clock import SystemClock
from paceline.web.app import App
from paceline.web.testing import Client

SECRET: Final = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"
OWNER: Final = (
    "accounts:read", "accounts:write", "transfers:write", "orders:read", "orders:write",
)  # fmt: skip
OPERATOR: Final = (*OWNER, "accounts:operate")


@pytest.fixture
async def app(migrated: str) -> AsyncGenerator[App]:
    config = Config().with_own(database_url=migrated, jwt_secret=SECRET)
    built = build(config.replaced(max_db_conns=5), RecordingLog(), with_server=False)
    async with built.lifecycle:
        yield built.app


def client(app: App, subject: str, *scopes: str) -> Client:
    token = issue_token(
        SECRET.encode(), subject=subject, scopes=scopes, expiry=3600, clock=SystemClock()
    )
    return Client(app, headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def ada(app: App) -> Client:
    return client(app, "ada", *OWNER)


@pytest.fixture
def bob(app: App) -> Client:
    return client(app, "bob", *OWNER)


@pytest.fixture
def operator(app: App) -> Client:
    return client(app, "root", *OPERATOR)
