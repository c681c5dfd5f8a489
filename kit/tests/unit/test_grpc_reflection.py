"""What reflection answers, about a proto with everything that a proto can declare."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2 as their_alpha
from rpc_echo import SERVICE as ECHO
from rpc_echo import FakeContext, add_echo

from paceline.errors import Code, Error
from paceline.grpc import Call, Method, RpcApp, add_reflection, unary
from paceline.grpc.protos import reflection_pb2 as pb
from paceline.grpc.protos import reflection_v1alpha_pb2 as pb_alpha

OPTIONAL = FieldDescriptorProto.LABEL_OPTIONAL
INT32 = FieldDescriptorProto.TYPE_INT32
V1, V1ALPHA = (f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha"))


def field(
    name: str, number: int, *, oneof: int | None = None, extendee: str | None = None
) -> FieldDescriptorProto:
    return FieldDescriptorProto(
        name=name, number=number, label=OPTIONAL, type=INT32, oneof_index=oneof, extendee=extendee
    )


def base_file() -> FileDescriptorProto:
    thing = DescriptorProto(name="Thing", field=[field("size", 1), field("either", 2, oneof=0)])
    thing.oneof_decl.add(name="choice")
    thing.nested_type.add(name="Part").nested_type.add(name="Screw")
    thing.enum_type.add(name="Colour").value.add(name="RED", number=0)
    thing.extension_range.add(start=100, end=200)
    file = FileDescriptorProto(name="shop/thing.proto", package="shop", message_type=[thing])
    file.message_type.add(name="Plain")
    return file


def extending_file() -> FileDescriptorProto:
    numbers = {"second": 120, "first": 101}
    return FileDescriptorProto(
        name="shop/more.proto", package="shop", dependency=["shop/thing.proto"],
        extension=[field(name, number, extendee=".shop.Thing") for name, number in numbers.items()],
    )  # fmt: skip


def service_file() -> FileDescriptorProto:
    file = FileDescriptorProto(
        name="shop/service.proto", package="shop",
        dependency=["shop/more.proto", "shop/thing.proto"],
    )  # fmt: skip
    service = file.service.add(name="Shop")
    service.method.add(name="Sell", input_type=".shop.Thing", output_type=".shop.Plain")
    return file


async def sell(request: Message, call: Call) -> Message:
    return request


@pytest.fixture
def app() -> RpcApp:
    pool = DescriptorPool()
    for file in (base_file(), extending_file(), service_file()):
        pool.AddSerializedFile(file.SerializeToString())
    app = add_echo(RpcApp())
    app.add(pool.FindServiceByName("shop.Shop"), {"Sell": unary(sell)})
    add_reflection(app)
    return app


async def ask(
    app: RpcApp, *requests: Message, service: str = V1
) -> list[pb.ServerReflectionResponse]:
    """The answers of one stream."""
    (handlers,) = [each for descriptor, each in app.described if descriptor.full_name == service]

    async def asked() -> AsyncIterator[Message]:
        for request in requests:
            yield request

    call = Call(Method(f"/{service}/ServerReflectionInfo", streams=True), b"", FakeContext())
    return [answer async for answer in handlers["ServerReflectionInfo"].run(asked(), call)]


def names(answer: pb.ServerReflectionResponse) -> list[str]:
    """The files of an answer."""
    files = answer.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(raw).name for raw in files]


def symbol(name: str) -> pb.ServerReflectionRequest:
    return pb.ServerReflectionRequest(file_containing_symbol=name)


async def test_services_are_listed_in_order(app: RpcApp) -> None:
    (answer,) = await ask(app, pb.ServerReflectionRequest(list_services="*"))
    listed = [service.name for service in answer.list_services_response.service]
    assert listed == sorted({V1, V1ALPHA, ECHO, "shop.Shop"})


@dataclass(frozen=True)
class Symbol:
    kind: str
    name: str
    file: str = "shop/thing.proto"


SYMBOLS = [
    Symbol("service", "shop.Shop", "shop/service.proto"),
    Symbol("method", "shop.Shop.Sell", "shop/service.proto"),
    Symbol("message", "shop.Thing"),
    Symbol("nested", "shop.Thing.Part"),
    Symbol("nested twice", "shop.Thing.Part.Screw"),
    Symbol("field", "shop.Thing.size"),
    Symbol("oneof", "shop.Thing.choice"),
    Symbol("field of a oneof", "shop.Thing.either"),
    Symbol("enum", "shop.Thing.Colour"),
    Symbol("value", "shop.Thing.RED"),
    Symbol("extension", "shop.first", "shop/more.proto"),
    Symbol("method of the default pool", f"{ECHO}.Say", "paceline/test/echo.proto"),
    Symbol("message of no service", "google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
    Symbol(
        "reflection itself", f"{V1}.ServerReflectionInfo", "grpc/reflection/v1/reflection.proto"
    ),
]


@pytest.mark.parametrize("case", SYMBOLS, ids=lambda case: case.kind)
async def test_a_symbol_is_found_by_its_full_name(case: Symbol, app: RpcApp) -> None:
    (answer,) = await ask(app, symbol(case.name))
    assert names(answer)[:1] == [case.file]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "shop",
        "shop.Nothing",
        "shop.Shop.Nothing",
        "shop.Thing.Sell",
        ".shop.Thing",
        "shop.Shop.",
    ],
)
async def test_a_symbol_that_nothing_declares_is_not_found(name: str, app: RpcApp) -> None:
    (answer,) = await ask(app, symbol(name))
    assert answer.error_response.error_code == Code.NOT_FOUND
    assert answer.error_response.error_message == f"there is no symbol {name}"
    assert answer.original_request == symbol(name)


async def test_a_file_comes_with_what_it_imports(app: RpcApp) -> None:
    (answer,) = await ask(app, pb.ServerReflectionRequest(file_by_filename="shop/service.proto"))
    assert names(answer) == ["shop/service.proto", "shop/more.proto", "shop/thing.proto"]
    sent = answer.file_descriptor_response.file_descriptor_proto[2]
    assert FileDescriptorProto.FromString(sent) == base_file()


async def test_within_a_stream_only_the_file_asked_for_is_sent_again(app: RpcApp) -> None:
    first, second, third = await ask(
        app, symbol("shop.first"), symbol("shop.Shop"), symbol("shop.Thing")
    )
    assert names(first) == ["shop/more.proto", "shop/thing.proto"]
    assert names(second) == ["shop/service.proto"]
    assert names(third) == ["shop/thing.proto"]


async def test_a_file_that_does_not_exist_is_not_found(app: RpcApp) -> None:
    (answer,) = await ask(app, pb.ServerReflectionRequest(file_by_filename="shop/no.proto"))
    assert answer.error_response.error_code == Code.NOT_FOUND


def extension(kind: str, number: int) -> pb.ServerReflectionRequest:
    made = pb.ServerReflectionRequest()
    made.file_containing_extension.containing_type = kind
    made.file_containing_extension.extension_number = number
    return made


async def test_an_extension_is_found_by_its_number(app: RpcApp) -> None:
    (found, missing, unknown) = await ask(
        app, extension("shop.Thing", 120), extension("shop.Thing", 121), extension("shop.No", 1)
    )
    assert names(found) == ["shop/more.proto", "shop/thing.proto"]
    assert missing.error_response.error_code == Code.NOT_FOUND
    assert unknown.error_response.error_code == Code.NOT_FOUND


async def test_the_extensions_of_a_message_are_listed(app: RpcApp) -> None:
    asked = [
        pb.ServerReflectionRequest(all_extension_numbers_of_type=name)
        for name in ("shop.Thing", "shop.Plain", "shop.No")
    ]
    some, none, unknown = await ask(app, *asked)
    assert some.all_extension_numbers_response.base_type_name == "shop.Thing"
    assert list(some.all_extension_numbers_response.extension_number) == [101, 120]
    assert none.WhichOneof("message_response") == "all_extension_numbers_response"
    assert not none.all_extension_numbers_response.extension_number
    assert unknown.error_response.error_code == Code.NOT_FOUND


async def test_the_host_and_the_request_come_back(app: RpcApp) -> None:
    request = pb.ServerReflectionRequest(host="shop.test", list_services="*")
    (answer,) = await ask(app, request)
    assert answer.valid_host == "shop.test"
    assert answer.original_request == request


async def test_a_request_that_asks_nothing_ends_the_stream(app: RpcApp) -> None:
    with pytest.raises(Error) as caught:
        await ask(app, pb.ServerReflectionRequest(host="x"))
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_both_versions_answer_alike(app: RpcApp) -> None:
    requests = [symbol("shop.Shop.Sell"), symbol("no.Such"), extension("shop.Thing", 101)]
    answers = await ask(app, *requests)
    older = [
        pb_alpha.ServerReflectionRequest.FromString(each.SerializeToString()) for each in requests
    ]
    of_alpha = await ask(app, *older, service=V1ALPHA)
    assert [each.SerializeToString(deterministic=True) for each in of_alpha] == [
        each.SerializeToString(deterministic=True) for each in answers
    ]
    read = their_alpha.ServerReflectionResponse.FromString(of_alpha[1].SerializeToString())
    assert read.original_request.file_containing_symbol == "no.Such"
