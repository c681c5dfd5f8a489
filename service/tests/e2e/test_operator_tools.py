"""``myservice bench`` and ``top``, on a running service and on nothing."""

import asyncio
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from running import MYSERVICE, PATIENCE, environment, running_service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def myservice(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MYSERVICE, *words], env=environment(**variables),
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def test_a_load_is_seen_by_the_live_view(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", APP_ADMIN_PORT="0", APP_RATE_LIMIT="0") as service:
        found = re.search(r"(http://\S+)/metrics", service.said())
        assert found is not None
        words = ["bench", f"{service.url}/api/v1/records", "-c", "4", "-d", "60s", "--json"]
        load = subprocess.Popen(
            [MYSERVICE, *words, "-H", f"Authorization: Bearer {service.token}"],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            seen = ""
            while "GET /api/v1/records " not in seen:
                assert load.poll() is None
                top = myservice("top", found[1], "--once")
                assert top.returncode == 0, top.stderr
                seen = top.stdout
            load.send_signal(signal.SIGINT)
            told, _ = load.communicate(timeout=PATIENCE)
        finally:
            load.kill()
            load.communicate()
        report = json.loads(told)
        assert (load.returncode, report["interrupted"], report["failed"]) == (0, True, 0)
        assert report["statuses"]["200"] == report["answers"] > 0
        assert 0 < report["latency"]["p50"] <= report["latency"]["p99"] <= report["latency"]["max"]
        for word in ("myservice", "ready", "HTTP", "pool", "outbox", "consumer", "coalescer"):
            assert word in seen

        wrong = myservice("bench", f"{service.url}/api/v1/records", "-d", "200ms", "-r", "50")
        assert wrong.returncode == 0
        assert re.search(r"\d  401\n", wrong.stdout)
        assert "Distribution" in wrong.stdout


@dataclass(frozen=True)
class Refusal:
    id: str
    words: tuple[str, ...]
    says: str
    code: int = 2


REFUSALS = [
    Refusal("no URL", ("bench",), "URL"),
    Refusal("another scheme", ("bench", "ftp://a"), "expected http://"),
    Refusal("a header that is none", ("bench", "a", "-H", "nonsense"), "Name: value"),
    Refusal("no such file", ("bench", "a", "--data", "@nowhere.json"), "nowhere.json"),
    Refusal("a duration that is none", ("bench", "a", "-d", "soon"), "--duration"),
    Refusal("nobody listens", ("bench", "127.0.0.1:1"), "connection refused", 1),
    Refusal("no terminal", ("top",), "--once"),
    Refusal("no instance", ("top", "127.0.0.1:1", "--once"), "away: connection refused", 1),
    Refusal("an instance of another scheme", ("top", "ftp://a", "--once"), "expected http://"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.id)
def test_what_cannot_be_done_is_said(case: Refusal) -> None:
    done = myservice(*case.words)
    assert done.returncode == case.code, done.stderr
    assert case.says in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_server_that_answers_nothing_fails_the_load() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        done = await asyncio.to_thread(
            myservice, "bench", url, "-c", "2", "-d", "300ms", "--timeout", "200ms"
        )
    assert done.returncode == 1
    assert "no answer in time" in done.stdout
    assert "Nothing was answered" in done.stderr


def test_the_token_of_an_instance_comes_from_the_environment_and_is_not_printed() -> None:
    variables: Mapping[str, str] = {"APP_ADMIN_TOKEN": "hunter2\nX: 1"}
    done = myservice("top", "127.0.0.1:1", "--once", **variables)
    assert done.returncode == 2
    assert "--token" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_live_view_on_a_terminal_waits_for_an_instance_and_leaves_by_a_key() -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen = subprocess.Popen(
        [MYSERVICE, "top", "127.0.0.1:1", "--interval", "0.2"],
        env=environment(TERM="xterm-256color"), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        seen = b""
        while b"away: connection refused" not in seen:
            assert select.select([ours], [], [], PATIENCE)[0], seen
            seen += os.read(ours, 65536)
        os.write(ours, b"q")
        with suppress(OSError):  # the terminal is gone when its program is
            while os.read(ours, 65536):
                pass
        assert screen.wait(PATIENCE) == 0
    finally:
        screen.kill()
        screen.wait()
        os.close(ours)


@pytest.mark.integration
def test_the_live_view_of_several_workers(migrated: str, tmp_path: Path) -> None:
    secret = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"
    server = subprocess.Popen(
        [MYSERVICE, "serve", "--workers", "2"], cwd=tmp_path,
        env=environment(APP_DATABASE_URL=migrated, APP_JWT_SECRET=secret, APP_PORT="0"),
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
        assert "pool database" in seen
        assert "0 of 24 in use" in seen, "both have half of 25"
        server.terminate()
        server.communicate(timeout=PATIENCE)
        assert server.returncode == 0
    finally:
        server.kill()
        server.communicate()
