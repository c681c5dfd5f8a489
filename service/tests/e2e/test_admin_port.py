"""The admin port of the commands: its address, its token, and a port that is taken."""

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from service_process import MYSERVICE, PATIENCE, ServiceProcess, environment, running_service

from paceline.testing import TEST_SECRET

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

GIVEN = {
    "APP_DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/app", "APP_JWT_SECRET": TEST_SECRET,
    "APP_NATS_URL": "nats://127.0.0.1:1",
}  # fmt: skip


def myservice(*words: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**GIVEN, **variables), cwd=cwd,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_an_address_that_others_can_reach_needs_a_token(command: str, tmp_path: Path) -> None:
    done = myservice(command, cwd=tmp_path, APP_ADMIN_HOST="0.0.0.0")  # noqa: S104 - the point
    assert done.returncode == 2
    assert "can be reached from other machines: set APP_ADMIN_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_port_that_is_taken_is_named_with_its_setting(command: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = myservice(command, cwd=tmp_path, APP_ADMIN_PORT=str(port))
    assert done.returncode == 1
    assert f"admin server (APP_ADMIN_PORT): port {port} on 127.0.0.1 is in use" in done.stdout


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServiceProcess]:
    settings = {
        "APP_ADMIN_HOST": "0.0.0.0",  # noqa: S104 - the point
        "APP_ADMIN_TOKEN": TEST_SECRET,
        "APP_ENABLE_METRICS": "false",
    }
    with running_service(tmp_path_factory.mktemp("admin") / "data", **settings) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Asked:
    path: str
    token: str
    status: int


@pytest.mark.parametrize(
    "case",
    [
        Asked("/health", "", 200),
        Asked("/ready", "", 200),
        Asked("/debug/state", "", 401),
        Asked("/debug/state", TEST_SECRET[::-1], 401),
        Asked("/debug/state", TEST_SECRET, 200),
        Asked("/debug/tasks", TEST_SECRET, 200),
        Asked("/debug/profile?seconds=0.2", TEST_SECRET, 200),
        Asked("/metrics", TEST_SECRET, 404),
    ],
    ids=lambda case: f"{case.path} {case.status}",
)
def test_all_but_the_probes_need_the_token(case: Asked, service: ServiceProcess) -> None:
    assert ask(service.admin, case.path, case.token)[0] == case.status


def test_secrets_are_masked_and_the_engines_addresses_are_shown(service: ServiceProcess) -> None:
    status, content = ask(service.admin, "/config", TEST_SECRET)
    assert status == 200
    assert TEST_SECRET not in content
    values = {row["variable"]: row["value"] for row in json.loads(content)}
    assert values["APP_ADMIN_TOKEN"] == values["APP_JWT_SECRET"] == "***"
    assert values["APP_NATS_URL"].startswith("nats://")


def test_the_public_port_serves_nothing_of_it(service: ServiceProcess) -> None:
    for path in (
        "/metrics",
        "/config",
        "/log/level",
        "/debug/state",
        "/debug/logs",
        "/debug/tasks",
    ):
        assert ask(service.url, path, TEST_SECRET)[0] == 404


def test_the_level_of_a_running_service_changes_and_its_log_can_be_read(
    service: ServiceProcess,
) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own
        f"{local(service.admin)}/log/level", data=b'{"level": "debug"}', method="PUT",
        headers={"Authorization": f"Bearer {TEST_SECRET}", "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
        assert json.load(answer) == {"level": "debug"}
    ask(service.url, "/health", "")
    lines = json.loads(ask(service.admin, "/debug/logs?after=0", TEST_SECRET)[1])["lines"]
    last = [json.loads(line) for line in lines if '"level":"debug"' in line]
    assert [record for record in last if record.get("path") == "/health"], (
        "not logged at the level before"
    )


@pytest.mark.parametrize(("words", "said"), [((), "ok\n"), (("--ready",), "ready\n")])
def test_the_health_check_of_a_container_needs_no_token(
    words: tuple[str, ...], said: str, service: ServiceProcess, tmp_path: Path
) -> None:
    port = service.admin.rpartition(":")[2]
    settings = {"APP_ADMIN_HOST": "0.0.0.0", "APP_ADMIN_PORT": port}  # noqa: S104 - as the service
    done = myservice("health", *words, cwd=tmp_path, **settings)
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def local(url: str) -> str:
    return url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - where it listens


def ask(url: str, path: str, token: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{local(url)}{path}", headers=headers)  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
