"""No wait of a request outlives its deadline: each is frozen in turn, and the answer comes in time.

A proxy stands before the real PostgreSQL. Each use case is run once to see its conversation with the
database, and then again and again under a client's short deadline, with silence before each piece of
that conversation, and in the middle of some. Every time the answer is a 504 in time, which says what
was caught and whose deadline it was; no statement goes on in the server for nobody, and the next
request is as good as ever. ``test_deadline_boundaries`` has what is not the database's silence.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from msgspec import UNSET
from pg_sessions import SessionMonitor, monitoring
from wired_service import SECRET, wire_service

from myservice.config import Config
from myservice.scopes import SCOPES
from paceline.auth import issue_token
from paceline.clock import SystemClock
from paceline.engines import PostgresEngine
from paceline.http import TestClient, TestResponse
from paceline.testing import Proxy, RecordingLog, Way, proxy_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SOON = 0.15
QUIET = 0.02
SLACK = 2.0  # for a machine with other things to do; without the deadline it would be 30 s
HURRY = {"request-timeout": f"{SOON:g}"}


@dataclass(frozen=True)
class Case:
    """A request. ``{record}``, ``{account}``, … in it are things that exist."""

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
    Case("delete a record", "DELETE", "/records/{doomed}", status=204),
    Case("open an account", "POST", "/accounts", {}, 201),
    Case("read an account", "GET", "/accounts/{account}"),
    Case("transfer", "POST", "/transfers", {"from": "{account}", "to": "{other}", "amount": 1}, 201),
    Case("order", "POST", "/orders", {"from": "{account}", "to": "{other}", "amount": 1}, 202),
    Case("read an order", "GET", "/orders/{order}"),
]  # fmt: skip


class World:
    """The wired service behind a proxy, and things that exist in it."""

    def __init__(self, client: TestClient, proxy: Proxy, monitor: SessionMonitor) -> None:
        self.proxy = proxy
        self.monitor = monitor
        self._client = client
        self._things: dict[str, str] = {}

    async def fill(self) -> None:
        """Make the things."""
        for name in ("account", "other"):
            self._things[name] = await self._make("/accounts", {})
        money = {"amount": 1_000_000}
        await self._make(f"/accounts/{self._things['account']}/credits", money)
        self._things["record"] = await self._make("/records", {"name": "one"})
        pay = {"from": self._things["account"], "to": self._things["other"], "amount": 1}
        self._things["order"] = await self._make("/orders", pay)

    async def prepare(self, case: Case) -> None:
        """Make what the request uses up, and let what came before it come to its end."""
        if "{doomed}" in case.path:
            self._things["doomed"] = await self._make("/records", {"name": "doomed"})
        await self.proxy.until_quiet(QUIET)
        self.proxy.forget()

    async def ask(self, case: Case, **headers: str) -> TestResponse:
        """Send the request, for which all is prepared."""
        return await self._client.request(
            case.method,
            f"/api/v1{case.path.format(**self._things)}",
            json=self._named(case.body) if case.method in {"POST", "PUT"} else UNSET,
            headers={"idempotency-key": uuid4().hex, **headers},
        )

    async def ask_in_silence(self, case: Case, way: Way, after: int) -> TestResponse:
        """Send it in a hurry, while the database falls silent that far into the conversation."""
        self.proxy.fall_silent(way, after)
        try:
            async with asyncio.timeout(SOON + SLACK):
                return await self.ask(case, **HURRY)
        finally:
            self.proxy.speak()

    def _named(self, body: Mapping[str, object]) -> Mapping[str, object]:
        return {
            key: value.format(**self._things) if isinstance(value, str) else value
            for key, value in body.items()
        }

    async def _make(self, path: str, body: object) -> str:
        made = await self._client.post(
            f"/api/v1{path}", body, headers={"idempotency-key": uuid4().hex}
        )
        assert made.status in {201, 202}, made.body
        return str(made.json()["id"])


@asynccontextmanager
async def world(postgres: PostgresEngine, dsn: str) -> AsyncGenerator[World]:
    folder, port = dsn.partition("?host=")[2].split("&port=")
    name = dsn.partition("@/")[2].partition("?")[0]

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")

    user = dsn.partition("//")[2].partition("@")[0]
    async with proxy_of(connect) as proxy, monitoring(dsn) as monitor:
        config = Config.model_validate({
            "database_url": f"postgresql://{user}@127.0.0.1:{proxy.port}/{name}?sslmode=disable",
            "jwt_secret": SECRET, "max_db_conns": 4, "rate_limit": 0,
        })  # fmt: skip
        token = issue_token(
            SECRET.encode(), subject="ada", scopes=SCOPES, expiry=3600, clock=SystemClock()
        )
        process = wire_service(config, RecordingLog())
        async with process.lifecycle:
            client = TestClient(process.app, headers={"authorization": f"Bearer {token}"})
            found = World(client, proxy, monitor)
            await found.fill()
            yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_silence_anywhere_in_the_conversation_with_the_database(
    case: Case, postgres: PostgresEngine, migrated: str
) -> None:
    async with world(postgres, migrated) as it:
        conversations: list[list[tuple[Way, int]]] = []
        for _ in range(4):
            await it.prepare(case)
            assert (await it.ask(case)).status == case.status
            conversations.append(it.proxy.conversation)
        # The longer ones prepare a statement, or notify others afterwards.
        conversation = min(conversations, key=len)
        assert len(conversation) >= 2
        places = [
            (way, sum(size for other, size in conversation[:number] if other is way) + into)
            for number, (way, piece) in enumerate(conversation)
            for into in ({0, piece // 2} if number % 4 == 0 else {0})
        ]
        for way, after in places:
            await it.prepare(case)
            answer = await it.ask_in_silence(case, way, after)
            where = f"silent {way.value} after {after} of {conversation}"
            assert answer.status == 504, f"{where}: {answer.body!r}"
            detail = answer.json()["detail"]
            assert f"exceeded the {SOON:g}s set by the client (Request-Timeout)" in detail, where
            await it.monitor.wait_until(it.monitor.busy, 0)
            await it.prepare(case)
            assert (await it.ask(case)).status == case.status, where
