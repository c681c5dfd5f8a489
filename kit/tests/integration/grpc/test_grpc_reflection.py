"""Reflection over a socket, read by grpcio-reflection's client."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.wrappers_pb2 import StringValue
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from rpc_echo import CHAT, SERVICE, add_echo

from paceline.grpc.app import RpcApp
from paceline.grpc.health import add_health
from paceline.grpc.reflection import add_reflection
from paceline.grpc.server import RpcServer
from paceline.health import Health
from paceline.testing import RecordingLog

pytestmark = pytest.mark.integration

T = TypeVar("T")


@pytest.fixture
async def target() -> AsyncGenerator[str]:
    app = add_echo(RpcApp())
    add_health(app, Health({}, RecordingLog(), draining=lambda: False))
    add_reflection(app)
    server = RpcServer(app, RecordingLog(), host="127.0.0.1", port=0)
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def reading(target: str, read: Callable[[ProtoReflectionDescriptorDatabase], T]) -> T:
    """What ``read`` makes of the server's protos; their client waits, so it has a thread."""

    def run() -> T:
        with grpc.insecure_channel(target) as channel:
            return read(ProtoReflectionDescriptorDatabase(channel))

    async with asyncio.timeout(20):
        return await asyncio.to_thread(run)


async def test_their_client_lists_the_services(target: str) -> None:
    listed = await reading(target, lambda database: list(database.get_services()))
    assert listed == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        SERVICE,
    ]


async def test_their_client_makes_messages_of_what_it_reads(target: str) -> None:
    def read(database: ProtoReflectionDescriptorDatabase) -> tuple[str, str]:
        pool = DescriptorPool(database)
        service = pool.FindServiceByName(SERVICE)
        health = pool.FindServiceByName("grpc.health.v1.Health")
        chat = service.methods_by_name[CHAT.rpartition("/")[2]]
        return chat.input_type.full_name, health.methods_by_name["List"].output_type.full_name

    assert await reading(target, read) == (
        StringValue.DESCRIPTOR.full_name,
        "grpc.health.v1.HealthListResponse",
    )


async def test_their_client_finds_extensions(target: str) -> None:
    def read(database: ProtoReflectionDescriptorDatabase) -> list[int]:
        with pytest.raises(KeyError):
            database.FindAllExtensionNumbers("no.Such")
        return list(database.FindAllExtensionNumbers("google.protobuf.StringValue"))

    assert await reading(target, read) == []
