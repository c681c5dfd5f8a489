"""The addresses of a connection, over each kind of socket, also of a client that is gone."""

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.http.server.transports import client_address, scheme, server_address

pytestmark = pytest.mark.integration

RESET_AT_CLOSE = b"\1\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Found:
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.found: Found | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.found = Found(client_address(transport), server_address(transport), scheme(transport))
        transport.close()


async def accepted(listener: socket.socket) -> Found | None:
    loop = asyncio.get_running_loop()
    server_side, _ = listener.accept()
    server_side.setblocking(False)
    _, protocol = await loop.connect_accepted_socket(Recorder, server_side)
    return protocol.found


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["4", "6"]
)
async def test_both_addresses_of_tcp_are_host_and_port(
    family: socket.AddressFamily, host: str
) -> None:
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind((host, 0))
        listener.listen()
        client.connect(listener.getsockname())
        own, port = client.getsockname()[1], listener.getsockname()[1]
        assert await accepted(listener) == Found((host, own), (host, port), "http")


async def test_a_client_that_is_gone_has_no_address() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        client.close()
        found = await accepted(listener)
        assert found is not None
        assert (found.client, found.scheme) == (None, "http")


async def test_a_unix_socket_has_a_path_and_its_client_no_address(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        assert await accepted(listener) == Found(None, (path, None), "http")
