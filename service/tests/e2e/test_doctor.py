"""``myservice doctor`` on real servers and on none: what it says, and with which exit code."""

import asyncio
import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from service_process import MYSERVICE, PATIENCE, environment

from myservice.cli import SERVICE
from paceline.engines import NatsEngine, PostgresEngine
from paceline.postgres.migrate import SchemaUpgrade
from paceline.testing import TEST_SECRET, SilentLog, scratch_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def doctor(*words: str, cwd: Path, **variables: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [MYSERVICE, "doctor", "--json", *words],
        env=environment(APP_PORT="0", APP_ADMIN_PORT="0", **variables), cwd=cwd,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    return done.returncode, found, done.stdout + done.stderr


@pytest.fixture
def durable() -> Generator[PostgresEngine]:
    """A PostgreSQL as in production: it syncs."""
    with scratch_folder() as folder:
        yield PostgresEngine(SilentLog(), data_dir=folder)


async def test_a_healthy_machine_with_healthy_servers(
    durable: PostgresEngine, nats: NatsEngine, tmp_path: Path
) -> None:
    await durable.start()
    try:
        variables = {
            "APP_DATABASE_URL": durable.dsn(), "APP_NATS_URL": nats.url, "APP_JWT_SECRET": TEST_SECRET,
        }  # fmt: skip
        code, found, _ = await asyncio.to_thread(doctor, cwd=tmp_path, **variables)
        assert (code, found["schema"]["status"]) == (1, "fail")
        assert found["schema"]["mend"] == "myservice migrate up"

        await SchemaUpgrade(durable.dsn(), SERVICE.get_migrations()).start()
        code, found, output = await asyncio.to_thread(doctor, cwd=tmp_path, **variables)
        assert [each for each in found.values() if each["status"] == "fail"] == []
        assert code == 0
        assert {"python", "packages", "postgres", "durability", "clocks", "nats", "jetstream"} <= {
            *found
        }
        assert TEST_SECRET not in output

        code, found, _ = await asyncio.to_thread(
            doctor, "--for", "worker", cwd=tmp_path, APP_DATABASE_URL=durable.dsn()
        )
        assert (code, "APP_NATS_URL" in found, "schema" in found) == (1, True, True)
    finally:
        await durable.stop()


def test_all_faults_are_reported_at_once_and_no_secret_with_them(tmp_path: Path) -> None:
    code, found, output = doctor(
        cwd=tmp_path,
        APP_DATABASE_URL="postgresql://app:hunter2@127.0.0.1:1/app",
        APP_NATS_URL="nats://app:hunter2@127.0.0.1:1",
        APP_REDIS_URL="redis://:hunter2@127.0.0.1:1/0",
        APP_JWT_SECRET="short-hunter2",
        APP_JWKS_URL="https://127.0.0.1:1/keys?token=hunter2",
        APP_LOG_LEVEL="loud",
        APP_OTEL_ENDPOINT="http://127.0.0.1:1",
        APP_ADMIN_HOST="0.0.0.0",  # noqa: S104 - it is refused
    )
    assert code == 1
    failed = {name for name, each in found.items() if each["status"] == "fail"}
    assert failed == {
        "APP_JWT_SECRET", "APP_LOG_LEVEL", "postgres", "schema", "nats", "redis", "jwks", "admin",
        "jwks claims",
    }  # fmt: skip
    assert found["traces"]["status"] == "warn"
    assert all(each["mend"] for each in found.values() if each["status"] != "ok")
    assert "hunter2" not in output
    assert "Traceback" not in output
