"""The sockets between supervisor, workers and everybody else."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.commands.prefork import WorkerHandoff, inherited
from paceline.commands.prefork.client import ask
from paceline.commands.prefork.handoff import WORKER, handed_on
from paceline.commands.prefork.sockets import open_listener, port_of, reserve
from paceline.errors import Code, Error

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"


def test_a_port_that_somebody_listens_on_cannot_be_had() -> None:
    with open_listener(HOST, 0) as first:
        for take in (open_listener, reserve):
            with pytest.raises(Error, match=f"port {port_of(first)} on {HOST} is in use") as caught:
                take(HOST, port_of(first))
            assert caught.value.code is Code.FAILED_PRECONDITION


def test_a_port_that_workers_listen_on_is_found_taken_unless_it_is_shared() -> None:
    with reserve(HOST, 0) as first, open_listener(HOST, port_of(first), reuse_port=True):
        with pytest.raises(Error, match="is in use"):
            reserve(HOST, port_of(first))
        with reserve(HOST, port_of(first), shared=True) as second:
            assert port_of(second) == port_of(first)


def test_a_reserved_port_gets_no_connections_until_somebody_listens() -> None:
    with reserve(HOST, 0) as reserved:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port_of(reserved)), timeout=5)
        with (
            open_listener(HOST, port_of(reserved), reuse_port=True) as listener,
            socket.create_connection((HOST, port_of(reserved)), timeout=5),
        ):
            listener.settimeout(5)
            listener.accept()[0].close()


def test_an_unknown_host_is_said() -> None:
    with pytest.raises(Error, match=r"cannot listen to port 0 on no-such-host\.invalid"):
        open_listener("no-such-host.invalid", 0)


def test_what_is_handed_on_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = WorkerHandoff(worker=2, link=3, listener=4, port=80, reserved_port=90, admin=5)
    monkeypatch.setenv(WORKER, handed_on({}, given)[WORKER])
    assert inherited() == given
    assert inherited() is None


@dataclass(frozen=True)
class Silence:
    id: str
    says: bytes


SILENCES = [
    Silence("nothing", b""),
    Silence("half a head", b"HTTP/1.1 200 OK\r\ncontent-"),
    Silence("half a body", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345"),
    Silence("nonsense", b"hello\r\n\r\n"),
    Silence("an endless head", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
]


@asynccontextmanager
async def saying(path: Path, says: bytes, *, hold: bool = False) -> AsyncGenerator[None]:
    """A server on a Unix socket that says this to everybody, and then hangs up unless ``hold``."""
    over = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        if hold:
            await over.wait()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield
    finally:
        over.set()
        server.close()


@pytest.mark.parametrize("case", SILENCES, ids=lambda case: case.id)
async def test_a_worker_that_does_not_answer_properly_is_unavailable(
    case: Silence, tmp_path: Path
) -> None:
    async with saying(tmp_path / "admin", case.says):
        with pytest.raises(Error, match="does not answer") as caught:
            await ask(tmp_path / "admin", "/ready")
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_worker_that_is_gone_or_hangs_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Error, match="does not answer"):
        await ask(tmp_path / "nobody", "/ready")
    async with saying(tmp_path / "admin", b"HTTP/1.1 200 OK\r\n", hold=True):
        with pytest.raises(Error, match="does not answer"):
            await ask(tmp_path / "admin", "/ready", timeout=0.05)


async def test_an_answer_is_given_as_it_is(tmp_path: Path) -> None:
    says = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nno"
    async with saying(tmp_path / "admin", says):
        answer = await ask(tmp_path / "admin", "/ready")
    assert (answer.status, answer.content_type, answer.body) == (503, b"a/b", b"no")
