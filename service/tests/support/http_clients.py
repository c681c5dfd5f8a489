"""The service without a socket, and clients of it with a token."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from wired_service import config_on, wire_service

from paceline.http import App, TestClient, TestResponse
from paceline.testing import RecordingLog, make_token


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


def problem_of(answer: TestResponse) -> tuple[int, str]:
    """Its status and the type of its problem."""
    return answer.status, answer.json()["type"]
