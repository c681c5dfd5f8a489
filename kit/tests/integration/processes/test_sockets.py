"""The sockets of a supervisor, its workers and their clients."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.commands.prefork import ListenerHandoff, WorkerHandoff, take_handoff
from paceline.commands.prefork.admin_client import fetch
from paceline.commands.prefork.handoff import WORKER_VARIABLE, worker_environment
from paceline.commands.prefork.sockets import open_listener, port_of
from paceline.errors import Code, Error

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"


def test_a_port_in_use_cannot_be_opened() -> None:
    with open_listener(HOST, 0) as first:
        with pytest.raises(Error, match=f"port {port_of(first)} on {HOST} is in use") as caught:
            open_listener(HOST, port_of(first))
        assert caught.value.code is Code.FAILED_PRECONDITION


def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(Error, match=r"cannot listen to port 0 on no-such-host\.invalid"):
        open_listener("no-such-host.invalid", 0)


def test_a_handoff_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listeners = {"http": ListenerHandoff(handle=4, port=80, table=6, slot=1)}
    handoff = WorkerHandoff(worker=2, link=3, listeners=listeners, admin=5)
    monkeypatch.setenv(WORKER_VARIABLE, worker_environment({}, handoff)[WORKER_VARIABLE])
    assert take_handoff() == handoff
    assert take_handoff() is None
    assert handoff.ports == {"http": 80}
    assert handoff.take_listener("grpc") is None


@dataclass(frozen=True)
class BadResponse:
    id: str
    data: bytes


BAD_RESPONSES = [
    BadResponse("nothing", b""),
    BadResponse("half a head", b"HTTP/1.1 200 OK\r\ncontent-"),
    BadResponse("half a body", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345"),
    BadResponse("nonsense", b"hello\r\n\r\n"),
    BadResponse("an endless head", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
]


@asynccontextmanager
async def sending(path: Path, data: bytes, *, hold: bool = False) -> AsyncGenerator[None]:
    """A server on a Unix socket that sends this to each client, then closes unless ``hold``."""
    over = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if hold:
            await over.wait()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield
    finally:
        over.set()
        server.close()


@pytest.mark.parametrize("case", BAD_RESPONSES, ids=lambda case: case.id)
async def test_a_worker_that_does_not_answer_properly_is_unavailable(
    case: BadResponse, tmp_path: Path
) -> None:
    async with sending(tmp_path / "admin", case.data):
        with pytest.raises(Error, match="does not answer") as caught:
            await fetch(tmp_path / "admin", "/ready")
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_worker_that_has_ended_or_hangs_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Error, match="does not answer"):
        await fetch(tmp_path / "nobody", "/ready")
    async with sending(tmp_path / "admin", b"HTTP/1.1 200 OK\r\n", hold=True):
        with pytest.raises(Error, match="does not answer"):
            await fetch(tmp_path / "admin", "/ready", timeout=0.05)


async def test_a_response_is_returned_unchanged(tmp_path: Path) -> None:
    data = (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: a/b\r\n"
        b"Content-Security-Policy: script-src 'sha256-AbC='\r\nContent-Length: 2\r\n\r\nno"
    )
    async with sending(tmp_path / "admin", data):
        response = await fetch(tmp_path / "admin", "/ready")
    assert (response.status, response.content_type, response.body) == (503, b"a/b", b"no")
    assert response.policy == b"script-src 'sha256-AbC='"
