"""The health service, as orchestrators use it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2 as pb
from rpc_echo import SERVICE, add_echo
from rpc_wire import many, one

from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.health import LIVENESS, add_health
from paceline.grpc.server import RpcServer
from paceline.health import Health
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
HEALTH = "/grpc.health.v1.Health"


@dataclass
class World:
    """What the checks find, and a channel."""

    channel: aio.Channel | None = None
    draining: bool = False
    broken: bool = False

    async def check(self) -> None:
        if self.broken:
            raise Error(Code.UNAVAILABLE, "gone")

    async def status(self, service: str) -> int:
        assert self.channel is not None
        method = one(self.channel, f"{HEALTH}/Check")
        raw = await method(pb.HealthCheckRequest(service=service).SerializeToString())
        return pb.HealthCheckResponse.FromString(raw).status


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    made = World()
    health = Health({"db": made.check}, RecordingLog(), draining=lambda: made.draining, reuse=0.0)
    app = add_echo(RpcApp())
    add_health(app, health, interval=0.01)
    server = RpcServer(app, RecordingLog(), host="127.0.0.1", port=0)
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            made.channel = channel
            yield made
    finally:
        await server.stop()


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_a_service_is_serving_while_it_is_ready_and_not_draining(service: str) -> None:
    async with world() as now:
        assert await now.status(service) == SERVING
        now.broken = True
        assert await now.status(service) == NOT_SERVING
        now.broken = False
        now.draining = True
        assert await now.status(service) == NOT_SERVING
        assert await now.status(LIVENESS) == SERVING


async def test_an_unknown_service_is_not_found() -> None:
    async with world() as now:
        with pytest.raises(aio.AioRpcError) as caught:
            await now.status("no.Such")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_receives_every_change() -> None:
    async with world() as now, asyncio.timeout(10):
        assert now.channel is not None
        method = many(now.channel, f"{HEALTH}/Watch")
        told = aiter(method(pb.HealthCheckRequest(service=SERVICE).SerializeToString()))

        async def following() -> int:
            return pb.HealthCheckResponse.FromString(await anext(told)).status

        assert await following() == SERVING
        now.broken = True
        assert await following() == NOT_SERVING
        now.broken = False
        assert await following() == SERVING
        now.draining = True
        assert await following() == NOT_SERVING
