"""``myservice top`` and the k6 script, on a running service and on nothing."""

import asyncio
import fcntl
import json
import os
import re
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from external_tools import go_tool
from service_process import MYSERVICE, PATIENCE, environment, running_service
from steady_load import SteadyLoad, steady_load

from paceline.testing import TEST_SECRET

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
K6_SCRIPT = Path(__file__).parents[2] / "service/deployments/k6/records.js"


def myservice(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**variables),
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


async def test_a_load_is_seen_by_the_live_view(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", APP_ADMIN_PORT="0", APP_RATE_LIMIT="0") as service:
        port = int(service.url.rpartition(":")[2])
        async with steady_load(SteadyLoad(lambda: port, token=service.token), clients=2) as load:
            seen = ""
            while "POST /api/v1/records " not in seen:
                top = await asyncio.to_thread(myservice, "top", service.admin, "--once")
                assert top.returncode == 0, top.stderr
                seen = top.stdout
            wrong = await asyncio.to_thread(myservice, "top", service.url, "--once")
        assert load.failures == []
        assert wrong.returncode == 1
        assert wrong.stderr == (
            f"{service.url} is not what top needs: something answers there, but it is not an admin"
            " port. Give the admin port of a running instance: ./myservice top http://HOST:PORT. It is"
            ' the one of APP_ADMIN_PORT, and "admin" in the line "ready" of its log.\n'
        )
        for word in ("myservice", "ready", "HTTP", "pool", "outbox", "consumer", "coalescer"):
            assert word in seen


def test_the_k6_script_creates_and_reads_records(tmp_path: Path) -> None:
    k6 = go_tool("k6", "--built")
    with running_service(tmp_path / "data") as service:
        done = subprocess.run(
            [
                k6, "run", "--quiet", "--no-usage-report", "--no-thresholds",
                "--summary-export", tmp_path / "summary", "-e", "RATE=50", "-e", "DURATION=1s", K6_SCRIPT,
            ],
            env={**os.environ, "URL": service.url, "TOKEN": service.token},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    checks = json.loads((tmp_path / "summary").read_text())["metrics"]["checks"]
    assert checks["fails"] == 0
    assert checks["passes"] > 0


@dataclass(frozen=True)
class Refusal:
    id: str
    words: tuple[str, ...]
    says: str
    code: int = 2


REFUSALS = [
    Refusal("no terminal", ("top",), "--once"),
    Refusal("no instance", ("top", "127.0.0.1:1", "--once"), "away: connection refused", 1),
    Refusal("an instance of another scheme", ("top", "ftp://a", "--once"), "expected http://"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
def test_what_cannot_be_done_is_reported(case: Refusal) -> None:
    done = myservice(*case.words)
    assert done.returncode == case.code, done.stderr
    assert case.says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_token_of_an_instance_comes_from_the_environment_and_is_not_printed() -> None:
    variables: Mapping[str, str] = {"APP_ADMIN_TOKEN": "hunter2\nX: 1"}
    done = myservice("top", "127.0.0.1:1", "--once", **variables)
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.fixture
def instance() -> Generator[ThreadingHTTPServer]:
    """What answers as the admin port of an instance that measures one thing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(b"process_resident_memory_bytes 1048576\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def start_on_a_terminal(url: str) -> "tuple[int, subprocess.Popen[bytes]]":
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen = subprocess.Popen(
        [MYSERVICE, "top", url, "--interval", "0.2"],
        env=environment(TERM="xterm-256color"), stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    return master, screen


def read_until(master: int, words: bytes) -> None:
    seen = b""
    while words not in seen:
        assert select.select([master], [], [], PATIENCE)[0], seen
        seen += os.read(master, 65536)


def read_to_the_end(master: int) -> bytes:
    seen = b""
    with suppress(OSError):  # the terminal is gone when its program is
        while more := os.read(master, 65536):
            seen += more
    return seen


def test_the_live_view_on_a_terminal_waits_for_an_instance_that_is_gone_and_leaves_by_a_key(
    instance: ThreadingHTTPServer,
) -> None:
    master, screen = start_on_a_terminal(f"http://127.0.0.1:{instance.server_address[1]}")
    try:
        read_until(master, b"1 MiB")
        instance.socket.close()
        read_until(master, b"away: connection refused")
        os.write(master, b"q")
        read_to_the_end(master)
        assert screen.wait(PATIENCE) == 0
    finally:
        screen.kill()
        screen.wait()
        os.close(master)


def test_without_an_instance_there_is_no_screen_but_a_sentence() -> None:
    master, screen = start_on_a_terminal("127.0.0.1:1")
    try:
        seen = read_to_the_end(master)
        assert screen.wait(PATIENCE) == 1
        assert b"http://127.0.0.1:1 is away: connection refused. Give the admin port" in seen
        assert b"\x1b[?1049h" not in seen
    finally:
        screen.kill()
        screen.wait()
        os.close(master)


@pytest.mark.integration
def test_the_live_view_of_several_workers(migrated: str, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [MYSERVICE, "serve", "--workers", "2"], cwd=tmp_path,
        env=environment(APP_DATABASE_URL=migrated, APP_JWT_SECRET=TEST_SECRET, APP_PORT="0"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        admin = None
        while admin is None:
            line = server.stdout.readline()
            assert line, "it ended"
            admin = re.search(r'"admin":"(http://[^"]+)"', line)
        seen = ""
        while "(2 workers)  ready" not in seen:
            top = myservice("top", admin[1], "--once")
            assert server.poll() is None
            seen = top.stdout
        assert "pool database (0 of 24)" in seen, "both have half of 25"
        server.terminate()
        server.communicate(timeout=PATIENCE)
        assert server.returncode == 0
    finally:
        server.kill()
        server.communicate()
