"""The service behind a PgBouncer in transaction mode: migrated, checked, served twice, followed."""

import asyncio
from pathlib import Path

import pytest
from event_stream import EventStream
from pgbouncer import pgbouncer_before
from processes import ApiClient, ServiceCommand, free_port, run_command

from myservice.scopes import SCOPES
from paceline.testing import TEST_SECRET, make_token

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

REQUESTS = 200


async def create_many(client: ApiClient) -> set[int]:
    bodies = [{"name": f"record {number}"} for number in range(REQUESTS)]
    statuses: set[int] = set()
    for start in range(0, REQUESTS, 20):
        answers = await asyncio.gather(
            *(client.request("POST", "/api/v1/records", each) for each in bodies[start:][:20])
        )
        statuses |= {status for status, _ in answers}
    return statuses


async def test_the_service_works_behind_pgbouncer(database: str, tmp_path: Path) -> None:
    with pgbouncer_before(database, tmp_path / "pgbouncer") as pooled:
        refused = run_command("migrate", "up", APP_DATABASE_URL=pooled)
        assert refused.returncode == 1
        assert "APP_DATABASE_DIRECT_URL" in refused.stderr
        both = {"APP_DATABASE_URL": pooled, "APP_DATABASE_DIRECT_URL": database}
        for _ in range(2):
            migrated = run_command("migrate", "up", **both)
            assert migrated.returncode == 0, migrated.stderr

        settings = {**both, "APP_JWT_SECRET": TEST_SECRET}
        looked = run_command("doctor", **settings)
        assert "one in between, so statements have no names" in looked.stdout, looked.stdout
        assert "report this" not in looked.stdout
        alone = run_command("doctor", **{**settings, "APP_DATABASE_DIRECT_URL": pooled})
        assert "APP_DATABASE_DIRECT_URL" in alone.stdout, alone.stdout

        token = make_token("ada", *SCOPES)
        for turn in ("first", "second"):
            serve = ServiceCommand(
                "serve", port=(port := free_port()), log=tmp_path / f"{turn}.log",
                APP_PORT=str(port), APP_RATE_LIMIT="0",
                APP_DATABASE_URL=pooled, APP_DATABASE_DIRECT_URL=database,
            )  # fmt: skip
            await serve.start()
            client = ApiClient(port, token)
            stream = EventStream(*await asyncio.open_connection("127.0.0.1", port))
            await stream.open("/api/v1/records/updates", token)
            assert await create_many(client) == {201}
            events = [await stream.next_event() for _ in range(REQUESTS)]
            assert {each.name for each in events if each} == {"created"}
            stream.writer.close()
            assert await serve.terminate() == 0
            assert '"level":"error"' not in (tmp_path / f"{turn}.log").read_text()
