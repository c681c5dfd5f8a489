"""A gRPC server stops on a port that another process shares, under load, and no call fails."""

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from rpc_echo import SAY, add_echo
from rpc_wire import one

from paceline.grpc.app import RpcApp
from paceline.grpc.limits import RpcLimits
from paceline.grpc.server import RpcServer
from paceline.http.server import bind_socket
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

SHARER = Path(__file__).parents[2] / "tools/rpc_sharer.py"
SUPPORT = Path(__file__).parents[2] / "support"
AGE = 0.5
CLIENTS = 8
ROUNDS = 3


@asynccontextmanager
async def another_process(listener: socket.socket) -> AsyncGenerator[None]:
    """A second server that accepts from ``listener``."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SHARER),
        str(listener.fileno()),
        stdin=pipe,
        stdout=pipe,
        env={"PYTHONPATH": str(SUPPORT)},
        pass_fds=[listener.fileno()],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"listening\n"
        yield
    finally:
        process.stdin.close()
        await process.wait()


@dataclass
class Load:
    """Calls on channels, kept ones and new ones, until it is over."""

    port: int
    over: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    async def run(self, calls: int) -> None:
        """``calls`` on each channel, then another channel. Errors: AioRpcError of any call."""
        message = StringValue(value="a").SerializeToString()
        options = [("grpc.use_local_subchannel_pool", 1)]
        while not self.over.is_set():
            async with aio.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
                for _ in range(calls):
                    await one(channel, SAY)(message, timeout=30)
                    self.calls += 1
                    if self.over.is_set():
                        break

    async def until_more(self, calls: int) -> None:
        wanted = self.calls + calls
        while self.calls < wanted:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_no_call_fails_while_one_of_two_servers_stops_repeatedly() -> None:
    with socket.socket() as listener:
        bind_socket(listener, ("127.0.0.1", 0), reuse_port=False)
        listener.listen()
        async with another_process(listener):
            load = Load(listener.getsockname()[1])
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(load.run(1_000_000 if number % 2 else 3))
                for _ in range(ROUNDS):
                    server = RpcServer(
                        add_echo(RpcApp()),
                        RecordingLog(),
                        host="127.0.0.1",
                        port=0,
                        listener=listener.dup(),
                        limits=RpcLimits(max_connection_age=AGE),
                    )
                    await server.start()
                    async with asyncio.timeout(20):
                        while server.connections < 2:  # noqa: ASYNC110 - there is no event for it
                            await asyncio.sleep(0.01)
                    await load.until_more(20)
                    await server.stop_accepting()
                    await server.stop()
                    assert server.connections == 0
                    await load.until_more(20)
                load.over.set()


async def test_a_server_alone_on_its_port_stops_at_once_with_a_client_connected() -> None:
    limits = RpcLimits(max_connection_age=60.0)
    app = add_echo(RpcApp())
    server = RpcServer(app, RecordingLog(), host="127.0.0.1", port=0, limits=limits)
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await one(channel, SAY)(StringValue(value="a").SerializeToString())
        async with asyncio.timeout(5):
            await server.stop_accepting()
            await server.stop()
