"""The commands, called correctly and incorrectly: their output and their exit codes."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from service_process import MYSERVICE, PATIENCE, environment

from myservice.cli import SERVICE
from myservice.config import Config
from paceline.postgres.migrate import read_source
from paceline.testing import TEST_SECRET

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

UNREACHABLE = "postgresql://app:hunter2@127.0.0.1:1/app"
GOOD = {"APP_DATABASE_URL": UNREACHABLE, "APP_JWT_SECRET": TEST_SECRET}


def myservice(
    *words: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**variables), cwd=cwd,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    id: str
    says: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict[str, str])
    words: tuple[str, ...] = ("serve",)
    code: int = 2
    file: str = ""


REFUSALS = [
    Refusal("nothing set", ("APP_DATABASE_URL: required", "APP_JWT_SECRET: required")),
    Refusal("empty", ("APP_DATABASE_URL: required", "APP_JWT_SECRET: required"), {"APP_DATABASE_URL": "", "APP_JWT_SECRET": "", "APP_JWKS_URL": ""}),
    Refusal("everything wrong", (
        'APP_PORT: expected an integer between 0 and 65535, got "http"',
        'APP_READ_TIMEOUT: expected a duration like "15s"', "APP_MAX_BODY: expected",
        "APP_MAX_DB_CONNS: expected an integer above 0", "APP_RATE_LIMIT: expected",
        "APP_TRUSTED_PROXIES: expected addresses or networks", "APP_LOG_LEVEL: expected",
        "APP_LOG_FORMAT: expected", "APP_DATABASE_URL: expected a URL", "APP_JWT_SECRET: expected at least 32",
        "APP_WRITE_TIMEOUT: expected", "APP_TOKEN_EXPIRY: expected", "APP_PG_PORT: expected",
    ), {
        "APP_PORT": "http", "APP_READ_TIMEOUT": "15", "APP_MAX_BODY": "much", "APP_MAX_DB_CONNS": "0",
        "APP_RATE_LIMIT": "-1", "APP_TRUSTED_PROXIES": "proxy", "APP_LOG_LEVEL": "loud",
        "APP_LOG_FORMAT": "xml", "APP_DATABASE_URL": "db", "APP_JWT_SECRET": "short-hunter2",
        "APP_WRITE_TIMEOUT": "-5s", "APP_TOKEN_EXPIRY": "NaN", "APP_PG_PORT": "70000",
    }),
    Refusal("a default secret", ("APP_JWT_SECRET: expected", "well-known words"), {**GOOD, "APP_JWT_SECRET": "change-me-please-change-me-please"}),
    Refusal("a repeated secret", ("APP_JWT_SECRET: expected", "repeated"), {**GOOD, "APP_JWT_SECRET": "a" * 40}),
    Refusal("a JWKS of anybody's", ("APP_JWKS_URL: tokens of any issuer and any audience", "APP_JWT_ANY_ISSUER=true"), {**GOOD, "APP_JWKS_URL": "https://127.0.0.1:1/keys"}),
    Refusal("an unknown flag", ("--prot",), GOOD, ("serve", "--prot", "1")),
    Refusal("an unknown command", ("sevre",), words=("sevre",)),
    Refusal("a cache without Redis", ("APP_REDIS_URL: required",), {**GOOD, "APP_CACHE": "true"}),
    Refusal("no Redis needed, no database there", ("127.0.0.1",), {**GOOD, "APP_CACHE": "false", "APP_RATE_LIMIT_SHARED": "0"}, code=1),
    Refusal("no such file", ("nowhere.toml",), GOOD, ("serve", "--config", "nowhere.toml")),
    Refusal("a file that is no TOML", ("settings.toml", "line 2"), GOOD, ("serve", "--config", "settings.toml"), file="port = 1\nport ="),
    Refusal("an unknown key", ("prot: not a setting", "did you mean port"), GOOD, ("serve", "--config", "settings.toml"), file="prot = 1"),
    Refusal("no database", ("APP_DATABASE_URL: required",), words=("migrate", "up")),
    Refusal("no secret", ("APP_JWT_SECRET: required",), words=("token", "--sub", "ada")),
    Refusal("no subject", ("--sub",), GOOD, words=("token",)),
    Refusal("a bad scope", ("scope",), GOOD, ("token", "--sub", "ada", "--scope", "a b")),
    Refusal("no database there", ("127.0.0.1",), GOOD, code=1),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
def test_all_mistakes_are_reported_at_once(case: Refusal, tmp_path: Path) -> None:
    if case.file:
        (tmp_path / "settings.toml").write_text(case.file)
    done = myservice(*case.words, cwd=tmp_path, **case.env)
    output = done.stdout + done.stderr
    assert done.returncode == case.code, output
    for words in case.says:
        assert words in output
    assert "hunter2" not in output
    assert TEST_SECRET not in output
    assert "Traceback" not in output


def test_an_unknown_variable_is_only_a_warning(tmp_path: Path) -> None:
    done = myservice("config", cwd=tmp_path, APP_PROT="1")
    assert done.returncode == 0
    assert "APP_PROT" in done.stderr
    assert "APP_PORT" in done.stderr


def test_the_order_of_precedence(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('host = "file"\nport = 1\nidle_timeout = "1s"\n')
    (tmp_path / ".env").write_text("APP_HOST=dotenv\nAPP_PORT=2\n")
    done = myservice("config", "--json", "--config", "settings.toml", cwd=tmp_path, APP_PORT="3")
    rows = {row["variable"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}
    assert rows["APP_READ_TIMEOUT"] == ("15s", "default")
    assert rows["APP_IDLE_TIMEOUT"][0] == "1s"
    assert "settings.toml" in rows["APP_IDLE_TIMEOUT"][1]
    assert rows["APP_HOST"][0] == "dotenv"
    assert rows["APP_PORT"] == ("3", "environment")


def test_config_lists_every_setting_and_masks_every_secret(tmp_path: Path) -> None:
    secrets = {**GOOD, "APP_JWT_SECRET_PREVIOUS": TEST_SECRET[::-1]}
    done = myservice("config", cwd=tmp_path, **secrets)
    for name in Config.model_fields:
        assert Config.variable(name) in done.stdout
    assert "postgresql://app:***@127.0.0.1:1/app" in done.stdout
    for secret in ("hunter2", TEST_SECRET, TEST_SECRET[::-1]):
        assert secret not in done.stdout


COMMANDS = [
    "run", "serve", "token", "config", "migrate up", "migrate down", "migrate goto",
    "migrate force", "migrate version", "migrate new", "doctor", "top",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    done = myservice(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout


def test_the_version_and_the_shell_completion() -> None:
    assert myservice("--version").stdout.startswith("myservice 0.")
    script = myservice(_MYSERVICE_COMPLETE="source_bash")
    assert "complete" in script.stdout


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def until_serving(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert get(f"http://127.0.0.1:{port}/ready")[0] == 200
        except OSError:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it never served"
            time.sleep(0.05)
        else:
            return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.integration
def test_from_an_empty_database_to_a_service_in_production(database: str, tmp_path: Path) -> None:
    env = {"APP_DATABASE_URL": database, "APP_JWT_SECRET": TEST_SECRET}
    early = myservice("serve", cwd=tmp_path, **env)
    assert early.returncode == 1
    assert "myservice migrate up" in early.stdout
    assert "000001" in myservice("migrate", "up", cwd=tmp_path, **env).stdout
    version = myservice("migrate", "version", cwd=tmp_path, **env).stdout.strip()
    assert int(version) == read_source(SERVICE.get_migrations()).versions[-1]

    port = free_port()
    drain = {"APP_DRAIN_DELAY": "2s", "APP_PORT": str(port)}
    server = subprocess.Popen(
        [MYSERVICE, "serve"], env=environment(**env, **drain), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until_serving(port, server)
        second = myservice("serve", cwd=tmp_path, APP_PORT=str(port), **env)
        assert (second.returncode, str(port) in second.stdout) == (1, True)
        token = myservice("token", "--sub", "ada", "--scope", "records:read", cwd=tmp_path, **env)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/records",
            headers={"Authorization": f"Bearer {token.stdout.strip()}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            assert json.load(answer) == {"records": [], "next_cursor": None}

        server.send_signal(signal.SIGTERM)
        statuses: set[int] = set()
        while 503 not in statuses:  # it still accepts, and is not ready any more
            statuses.add(get(f"http://127.0.0.1:{port}/ready")[0])
        assert get(f"http://127.0.0.1:{port}/health")[0] == 200
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()


@pytest.mark.integration
def test_a_second_signal_forces(migrated: str, tmp_path: Path) -> None:
    port = free_port()
    env = {"APP_DATABASE_URL": migrated, "APP_JWT_SECRET": TEST_SECRET, "APP_PORT": str(port)}
    server = subprocess.Popen(
        [MYSERVICE, "serve", "--drain-delay", "1h"], env=environment(**env), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until_serving(port, server)
        server.send_signal(signal.SIGTERM)
        while get(f"http://127.0.0.1:{port}/ready")[0] != 503:
            pass
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 128 + signal.SIGTERM
    finally:
        server.kill()
        server.communicate()


@pytest.mark.integration
def test_another_asgi_server_can_run_it(migrated: str, tmp_path: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "myservice.asgi:app", "--port", str(port)],
        env=environment(APP_DATABASE_URL=migrated, APP_JWT_SECRET=TEST_SECRET), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until_serving(port, server)
        server.send_signal(signal.SIGINT)
        output = server.communicate(timeout=PATIENCE)[0].decode()
    finally:
        server.kill()
        server.communicate()
    assert "Application shutdown complete" in output
    assert "Traceback" not in output
