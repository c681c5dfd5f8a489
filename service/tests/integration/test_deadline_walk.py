"""No wait of a request outlives its deadline: the database stalls at each byte of interest in turn.

A proxy is in front of the real PostgreSQL. Each use case is run to record its traffic with the
database, and then repeatedly under a client's short deadline, with a stall before each piece of that
traffic, and in the middle of some. Every response must be a 504 in time, which names what waited and
whose deadline it was; no statement continues in the server, and the next request succeeds.
``test_deadline_boundaries`` has the waits for other things than the database.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from msgspec import UNSET
from wired_service import wire_service

from myservice.config import Config
from myservice.scopes import SCOPES
from paceline.engines import PostgresEngine
from paceline.http import TestClient, TestResponse
from paceline.testing import (
    TEST_SECRET,
    FlowDirection,
    RecordingLog,
    SessionMonitor,
    StallingProxy,
    make_token,
    monitor_sessions,
    stalling_proxy,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DEADLINE = 0.15
IDLE = 0.02
SLACK = 2.0  # for a machine with other things to do; without the deadline it would be 30 s
WITH_DEADLINE = {"request-timeout": f"{DEADLINE:g}"}


@dataclass(frozen=True)
class Case:
    """A request. ``{record}``, ``{account}``, … are replaced by ids of what exists."""

    id: str
    method: str
    path: str
    body: Mapping[str, object] = field(default_factory=dict[str, object])
    status: int = 200


CASES = [
    Case("read a record", "GET", "/records/{record}"),
    Case("list records", "GET", "/records"),
    Case("create a record", "POST", "/records", {"name": "new"}, 201),
    Case("replace a record", "PUT", "/records/{record}", {"name": "other"}),
    Case("delete a record", "DELETE", "/records/{deleted}", status=204),
    Case("open an account", "POST", "/accounts", {}, 201),
    Case("read an account", "GET", "/accounts/{account}"),
    Case("transfer", "POST", "/transfers", {"from": "{account}", "to": "{other}", "amount": 1}, 201),
    Case("order", "POST", "/orders", {"from": "{account}", "to": "{other}", "amount": 1}, 202),
    Case("read an order", "GET", "/orders/{order}"),
]  # fmt: skip


class ProxiedService:
    """The service on a database behind a proxy, and the ids of what was created."""

    def __init__(self, client: TestClient, proxy: StallingProxy, monitor: SessionMonitor) -> None:
        self.proxy = proxy
        self.monitor = monitor
        self._client = client
        self._ids: dict[str, str] = {}

    async def fill(self) -> None:
        """Create one of each kind."""
        for name in ("account", "other"):
            self._ids[name] = await self._make("/accounts", {})
        money = {"amount": 1_000_000}
        await self._make(f"/accounts/{self._ids['account']}/credits", money)
        self._ids["record"] = await self._make("/records", {"name": "one"})
        pay = {"from": self._ids["account"], "to": self._ids["other"], "amount": 1}
        self._ids["order"] = await self._make("/orders", pay)

    async def prepare(self, case: Case) -> None:
        """Create what the request deletes, and wait for the traffic of earlier requests to end."""
        if "{deleted}" in case.path:
            self._ids["deleted"] = await self._make("/records", {"name": "deleted"})
        await self.proxy.wait_until_idle(IDLE)
        self.proxy.clear_transcript()

    async def ask(self, case: Case, **headers: str) -> TestResponse:
        """Send the request."""
        return await self._client.request(
            case.method,
            f"/api/v1{case.path.format(**self._ids)}",
            json=self._named(case.body) if case.method in {"POST", "PUT"} else UNSET,
            headers={"idempotency-key": uuid4().hex, **headers},
        )

    async def ask_while_stalled(
        self, case: Case, direction: FlowDirection, after: int
    ) -> TestResponse:
        """Send it with a deadline, while the database stalls after so many bytes."""
        self.proxy.stall(direction, after)
        try:
            async with asyncio.timeout(DEADLINE + SLACK):
                return await self.ask(case, **WITH_DEADLINE)
        finally:
            self.proxy.resume()

    def _named(self, body: Mapping[str, object]) -> Mapping[str, object]:
        return {
            key: value.format(**self._ids) if isinstance(value, str) else value
            for key, value in body.items()
        }

    async def _make(self, path: str, body: object) -> str:
        made = await self._client.post(
            f"/api/v1{path}", body, headers={"idempotency-key": uuid4().hex}
        )
        assert made.status in {201, 202}, made.body
        return str(made.json()["id"])


@asynccontextmanager
async def proxied_service(postgres: PostgresEngine, dsn: str) -> AsyncGenerator[ProxiedService]:
    folder, port = dsn.partition("?host=")[2].split("&port=")
    name = dsn.partition("@/")[2].partition("?")[0]

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")

    user = dsn.partition("//")[2].partition("@")[0]
    async with stalling_proxy(connect) as proxy, monitor_sessions(dsn) as monitor:
        config = Config.model_validate({
            "database_url": f"postgresql://{user}@127.0.0.1:{proxy.port}/{name}?sslmode=disable",
            "jwt_secret": TEST_SECRET, "max_db_conns": 4, "rate_limit": 0,
        })  # fmt: skip
        process = wire_service(config, RecordingLog())
        async with process.lifecycle:
            client = TestClient(
                process.app, headers={"authorization": f"Bearer {make_token('ada', *SCOPES)}"}
            )
            found = ProxiedService(client, proxy, monitor)
            await found.fill()
            yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_a_stall_anywhere_in_the_traffic_with_the_database(
    case: Case, postgres: PostgresEngine, migrated: str
) -> None:
    async with proxied_service(postgres, migrated) as service:
        transcripts: list[list[tuple[FlowDirection, int]]] = []
        for _ in range(4):
            await service.prepare(case)
            assert (await service.ask(case)).status == case.status
            transcripts.append(service.proxy.transcript)
        # The longer ones prepare a statement, or notify others afterwards.
        transcript = min(transcripts, key=len)
        assert len(transcript) >= 2
        places = [
            (
                direction,
                sum(size for other, size in transcript[:number] if other is direction) + into,
            )
            for number, (direction, piece) in enumerate(transcript)
            for into in ({0, piece // 2} if number % 4 == 0 else {0})
        ]
        for direction, after in places:
            await service.prepare(case)
            answer = await service.ask_while_stalled(case, direction, after)
            where = f"stalled {direction.value} after {after} of {transcript}"
            assert answer.status == 504, f"{where}: {answer.body!r}"
            detail = answer.json()["detail"]
            assert f"exceeded the {DEADLINE:g}s set by the client (Request-Timeout)" in detail, (
                where
            )
            await service.monitor.wait_until(service.monitor.busy, 0)
            await service.prepare(case)
            assert (await service.ask(case)).status == case.status, where
