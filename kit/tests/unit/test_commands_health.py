"""``health``: what a container's health check runs, on instances that answer in all ways."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from small_service import SERVICE
from typer.testing import CliRunner

from paceline.commands.health import health_commands


@contextmanager
def admin_port(answers: dict[str, tuple[int, str]]) -> Generator[int]:
    """A port of 127.0.0.1 with these answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Case:
    id: str
    words: tuple[str, ...]
    answers: dict[str, tuple[int, str]]
    code: int
    said: str


UNREADY = '{"status":"unavailable","checks":[{"name":"postgres","ok":false,"reason":"timeout"}]}'


@pytest.mark.parametrize(
    "case",
    [
        Case("answers", (), {"/health": (200, '{"status":"ok"}')}, 0, "ok\n"),
        Case("ready", ("--ready",), {"/ready": (200, '{"status":"ready"}')}, 0, "ready\n"),
        Case("not ready", ("--ready",), {"/ready": (503, UNREADY)}, 1, "postgres: timeout\n"),
        Case("draining", ("--ready",), {"/ready": (503, '{"status":"draining"}')}, 1, "draining\n"),
        Case("fails", (), {"/health": (500, "")}, 1, "answered with status 500"),
        Case("not an admin port", (), {}, 1, "there is no /health"),
        Case("without readiness", ("--ready",), {}, 1, "there is no /ready"),
    ],
    ids=lambda case: case.id,
)
def test_the_exit_code_says_whether_the_process_is_well(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    with admin_port(case.answers) as port:
        monkeypatch.setenv("SMALL_ADMIN_PORT", str(port))
        monkeypatch.setenv("SMALL_ADMIN_HOST", "0.0.0.0")  # noqa: S104 - reached by 127.0.0.1
        done = CliRunner().invoke(health_commands(SERVICE), case.words)
    assert done.exit_code == case.code
    assert case.said in done.output


def test_nobody_there_is_said_with_the_settings_that_name_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("SMALL_ADMIN_PORT", str(port))
    done = CliRunner().invoke(health_commands(SERVICE), [])
    assert done.exit_code == 1
    assert f"http://127.0.0.1:{port}: connection refused" in done.output
    assert "SMALL_ADMIN_HOST and SMALL_ADMIN_PORT" in done.output
