"""A service to test with, and a call without a socket.

The service's proto is put together here, from the well-known types, so no generated file is needed:
``Say`` is unary, ``Count`` a stream, ``Join`` a client stream, ``Chat`` an exchange; all of them take
and give a StringValue.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.wrappers_pb2 import StringValue

from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.metadata import fields_of
from paceline.grpc.methods import client_stream, exchange, stream, unary
from paceline.http import Headers

SERVICE = "paceline.test.Echo"
SAY, COUNT, JOIN, CHAT = (f"/{SERVICE}/{name}" for name in ("Say", "Count", "Join", "Chat"))
_STRING = ".google.protobuf.StringValue"


def describe() -> None:
    """Register the service's descriptor."""
    file = FileDescriptorProto(
        name="paceline/test/echo.proto", package="paceline.test", syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )  # fmt: skip
    service = file.service.add(name="Echo")
    service.method.add(name="Say", input_type=_STRING, output_type=_STRING)
    service.method.add(name="Count", input_type=_STRING, output_type=_STRING, server_streaming=True)
    service.method.add(name="Join", input_type=_STRING, output_type=_STRING, client_streaming=True)
    service.method.add(
        name="Chat", input_type=_STRING, output_type=_STRING,
        client_streaming=True, server_streaming=True,
    )  # fmt: skip
    Default().AddSerializedFile(file.SerializeToString())


describe()

Say = Callable[[StringValue, Call], Awaitable[StringValue]]
Count = Callable[[StringValue, Call], AsyncGenerator[StringValue, None]]
Join = Callable[[AsyncIterator[StringValue], Call], Awaitable[StringValue]]
Chat = Callable[[AsyncIterator[StringValue], Call], AsyncGenerator[StringValue, None]]


async def say(request: StringValue, call: Call) -> StringValue:
    return StringValue(value=request.value.upper())


async def count(request: StringValue, call: Call) -> AsyncGenerator[StringValue, None]:
    for number in range(int(request.value)):
        yield StringValue(value=str(number))


async def join(requests: AsyncIterator[StringValue], call: Call) -> StringValue:
    return StringValue(value=" ".join([request.value async for request in requests]))


async def chat(
    requests: AsyncIterator[StringValue], call: Call
) -> AsyncGenerator[StringValue, None]:
    async for request in requests:
        yield StringValue(value=request.value[::-1])


def add_echo(
    app: RpcApp,
    say: Say = say,
    count: Count = count,
    *,
    join: Join = join,
    chat: Chat = chat,
    scopes: tuple[str, ...] = (),
) -> RpcApp:
    app.add(
        SERVICE,
        {
            "Say": unary(say, scopes=scopes),
            "Count": stream(count, scopes=scopes),
            "Join": client_stream(join, scopes=scopes),
            "Chat": exchange(chat, scopes=scopes),
        },
    )
    return app


@dataclass
class FakeContext:
    """Implements ``paceline.grpc.call.Context``."""

    metadata: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    client: str = "192.0.2.7"
    left: float | None = None
    written: list[bytes] = field(default_factory=list[bytes])
    received_compressed: bool = False
    timeout_field: str = "grpc-timeout"

    @property
    def headers(self) -> Headers:
        return [(name.encode(), value.encode("latin-1")) for name, value in self.metadata]

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        return fields_of(self.headers)

    def time_remaining(self) -> float | None:
        return self.left

    async def send_initial(self, call: Call, /) -> None: ...

    async def write(self, call: Call, message: bytes, /) -> None:
        self.written.append(message)
