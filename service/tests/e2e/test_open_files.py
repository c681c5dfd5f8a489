"""More idle clients than `ulimit` allows: the admin port, gRPC and the database still work."""

import asyncio
import shutil
import signal
import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
import records_pb2_grpc
from grpc import aio
from grpc_clients import bearer_metadata
from processes import ApiClient, ServiceCommand, free_port

from myservice.proto.v1 import records_pb2 as pb
from myservice.scopes import SCOPES
from paceline.testing import make_token

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Case:
    name: str
    limits: str
    """Of `prlimit`: soft, hard."""
    clients: int
    served: int
    """How many of them stay connected."""


CASES = (
    Case("a low soft limit is raised", "256:4096", 600, 600),
    Case("of a low hard limit a part is kept", "256:256", 400, 90),
)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit of util-linux")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_idle_clients_take_nothing_from_the_rest(
    case: Case, migrated: str, tmp_path: Path
) -> None:
    port, admin, grpc = free_port(), free_port(), free_port()
    command = ServiceCommand(
        "serve", port=port, grpc_port=grpc, log=tmp_path / "log",
        prefix=("prlimit", f"--nofile={case.limits}"),
        APP_DATABASE_URL=migrated, APP_ADMIN_PORT=str(admin), APP_PORT=str(port),
    )  # fmt: skip
    await command.start()
    assert open_files_of(command.pid) == int(case.limits.partition(":")[2])
    idle: list[socket.socket] = []
    try:
        client = ApiClient(command.port, make_token("ada", *SCOPES))
        for _ in range(case.clients):
            idle.append(socket.create_connection(("127.0.0.1", command.port), 5))  # noqa: PERF401 - closed even if one fails
        await asyncio.sleep(0)
        assert await asyncio.to_thread(ready, admin) == 200
        async with aio.insecure_channel(f"127.0.0.1:{grpc}") as channel:
            records = records_pb2_grpc.RecordServiceStub(channel)
            made = await records.CreateRecord(
                pb.CreateRecordRequest(record=pb.RecordDraft(name="one")),
                metadata=bearer_metadata("ada", *SCOPES), timeout=10,
            )  # fmt: skip
            assert made.record.name == "one"
        connected = sum(not is_closed(each) for each in idle)
        assert connected >= case.served
        for each in idle:
            each.close()
        async with asyncio.timeout(20):
            while await status_of(client) != 200:  # noqa: ASYNC110 - the event is in the service
                await asyncio.sleep(0.1)
    finally:
        for each in idle:
            each.close()
        assert await asyncio.to_thread(command.stop, signal.SIGTERM) == 0


def open_files_of(pid: int) -> int:
    """The soft limit of a process."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Max open files")).split()[3])


def ready(admin: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=5) as answer:
        status: int = answer.status
        return status


def is_closed(client: socket.socket) -> bool:
    """Whether the server has refused it: it was answered without having asked, or closed."""
    client.settimeout(0.001)
    try:
        client.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


async def status_of(client: ApiClient) -> int:
    try:
        status, _ = await client.request("GET", "/api/v1/records")
    except (OSError, asyncio.IncompleteReadError, KeyError):
        return 0
    return status
