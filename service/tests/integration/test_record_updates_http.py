"""`GET /api/v1/records/updates` on a real socket: followed, resumed, refused, ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from event_stream import EventStream
from record_replicas import wait_until
from wired_service import config_on, http_server_of, wire_service

from paceline.commands import Process
from paceline.http import TestClient
from paceline.testing import RecordingLog, make_token

pytestmark = pytest.mark.integration

UPDATES = "/api/v1/records/updates"
RECORDS = "/api/v1/records"
PATIENCE = 20.0


def token(expiry: float = 3600, *scopes: str) -> str:
    wanted = scopes or ("records:read", "records:write")
    return make_token("ada", *wanted, expiry=expiry)


@dataclass
class Service:
    process: Process
    log: RecordingLog
    api: TestClient

    @asynccontextmanager
    async def following(
        self, target: str = UPDATES, *more: str, bearer: str = ""
    ) -> AsyncGenerator[EventStream]:
        port = http_server_of(self.process).port
        connected = await asyncio.open_connection("127.0.0.1", port)
        stream = EventStream(*connected)
        try:
            await stream.open(target, bearer or token(), *more)
            yield stream
        finally:
            stream.writer.close()

    async def create(self, name: str) -> dict[str, Any]:
        answer = await self.api.post(RECORDS, {"name": name, "data": {"a": [1]}})
        assert answer.status == 201
        created: dict[str, Any] = answer.json()
        return created

    def streams(self) -> int:
        return http_server_of(self.process).connections


@asynccontextmanager
async def running(dsn: str, **settings: Any) -> AsyncGenerator[Service]:
    log = RecordingLog()
    process = wire_service(config_on(dsn, **settings), log, listens=True)
    async with process.lifecycle:
        headers = {"authorization": f"Bearer {token()}"}
        yield Service(process, log, TestClient(process.app, headers=headers))
    assert log.events("error") == []


@pytest.fixture
async def service(migrated: str) -> AsyncGenerator[Service]:
    async with running(migrated) as found:
        yield found


async def test_changes_arrive_as_events_with_their_content(service: Service) -> None:
    async with service.following(f"{UPDATES}?prefix=a") as stream:
        assert stream.status == 200
        await service.create("b")
        new = await service.create("a")
        place = f"{RECORDS}/{new['id']}"
        changed = await service.api.request("PUT", place, json={"name": "a2"})
        await service.api.request("DELETE", place)
        events = [await stream.next_event() for _ in range(3)]
    created, replaced, deleted = (event for event in events if event)
    assert [created.name, replaced.name, deleted.name] == ["created", "replaced", "deleted"]
    assert created.data["record"] == new
    assert created.data["position"] == created.id
    assert replaced.data["record"] == changed.json()
    assert (deleted.data["record"], deleted.data["version"]) == (None, 2)


@pytest.mark.parametrize("header", [True, False], ids=["Last-Event-ID", "after"])
async def test_who_comes_back_goes_on_after_the_last_event(
    service: Service,
    header: bool,  # noqa: FBT001 - a table
) -> None:
    async with service.following() as stream:
        names = [(await service.create(f"r{n}"))["name"] for n in range(6)]
        seen = [await stream.next_event() for _ in range(2)]
    last = seen[-1]
    assert last is not None
    way = (UPDATES, f"Last-Event-ID: {last.id}") if header else (f"{UPDATES}?after={last.id}",)
    async with service.following(*way) as stream:
        events = [await stream.next_event() for _ in range(4)]
    assert [event.data["record"]["name"] for event in events if event] == names[2:]


@pytest.mark.parametrize(
    ("target", "more", "bearer", "status"),
    [
        (UPDATES, "X: y", "rubbish", 401),
        (UPDATES, "X: y", token(3600, "records:write"), 403),
        (UPDATES, "Accept: application/json", "", 406),
        (UPDATES, "Last-Event-ID: rubbish", "", 422),
        (f"{UPDATES}?after={'A' * 28}", "X: y", "", 422),
        (f"{UPDATES}?after=", "X: y", "", 422),
    ],
)
async def test_a_bad_request_is_refused_with_a_problem(
    service: Service, target: str, more: str, bearer: str, status: int
) -> None:
    async with service.following(target, more, bearer=bearer) as stream:
        assert stream.status == status


async def test_a_stop_ends_the_streams_first_and_says_when_to_come_back(migrated: str) -> None:
    async with (
        running(migrated) as service,
        service.following() as one,
        service.following() as other,
    ):
        new = await service.create("a")
        for stream in (one, other):
            event = await stream.next_event()
            assert event is not None
            assert event.data["id"] == new["id"]
        async with asyncio.timeout(5):
            assert await service.process.lifecycle.stop()
        for stream in (one, other):
            assert await stream.next_event() is None
            assert 500 <= int(stream.retry) <= 3000


async def test_a_stream_ends_when_its_token_expires(service: Service) -> None:
    async with service.following(bearer=token(2)) as stream:
        assert stream.status == 200
        assert await stream.next_event() is None


async def test_a_client_that_goes_away_is_forgotten(service: Service) -> None:
    for _ in range(3):
        async with service.following() as stream:
            assert stream.status == 200
        await wait_until(lambda: service.streams() == 0)
    await service.create("a")


async def test_a_stream_outlasts_the_timeouts(migrated: str) -> None:
    async with (
        running(migrated, request_timeout=0.2, write_timeout=0.2) as service,
        service.following() as stream,
    ):
        await asyncio.sleep(0.8)
        new = await service.create("a")
        event = await stream.next_event()
        assert event is not None
        assert event.data["id"] == new["id"]
