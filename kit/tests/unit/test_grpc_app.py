"""Methods and their registration: mistakes are errors when the app is built."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, cast

import pytest
from google.protobuf.wrappers_pb2 import BoolValue, StringValue
from rpc_echo import CHAT, COUNT, JOIN, SAY, SERVICE, FakeContext, add_echo, chat, count, join, say

from paceline.edge import RegistrationError
from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.methods import MethodHandler, client_stream, exchange, stream, unary

ALL = {
    "Say": unary(say),
    "Count": stream(count),
    "Join": client_stream(join),
    "Chat": exchange(chat),
}


def test_a_method_left_out_on_purpose_is_named() -> None:
    app = RpcApp()
    app.add(SERVICE, {"Say": unary(say)}, without=["Count", "Join", "Chat", "NotYetThere"])
    assert app.services == [SERVICE]


async def one_argument(request: StringValue) -> StringValue:
    return request


def not_async(request: StringValue, call: Call) -> StringValue:
    return request


async def takes_another(request: BoolValue, call: Call) -> StringValue:
    return StringValue()


async def answers_with_another(request: StringValue, call: Call) -> AsyncGenerator[BoolValue, None]:
    yield BoolValue()


async def answers_once(request: StringValue, call: Call) -> StringValue:
    return request


@dataclass(frozen=True)
class Mistake:
    name: str
    method: str
    handler: Any
    says: str


MISTAKES = [
    Mistake("a stream that is unary", "Count", unary(say), "in the proto it is one message in, many out; write stream(...) and not unary(...)"),
    Mistake("an exchange that is a stream", "Chat", stream(count), "in the proto it is many messages in, many out; write exchange(...) and not stream(...)"),
    Mistake("a unary that is a stream", "Say", stream(count), "in the proto it is one message in, one out; write unary(...) and not stream(...)"),
    Mistake("a client stream that is an exchange", "Join", exchange(chat), "in the proto it is many messages in, one out; write client_stream(...) and not exchange(...)"),
    Mistake("a client stream that yields", "Join", client_stream(cast("Any", chat)), "it yields; an answer that is one message is returned"),
    Mistake("no call", "Say", unary(cast("Any", one_argument)), "it takes 1 of the two arguments; write (request, call: Call)"),
    Mistake("a function that is not async", "Say", unary(cast("Any", not_async)), "it is not async; write async def not_async"),
    Mistake("another request", "Say", unary(takes_another), "it takes google.protobuf.BoolValue; the proto has google.protobuf.StringValue"),
    Mistake("another answer", "Count", stream(answers_with_another), "it answers with google.protobuf.BoolValue; the proto has google.protobuf.StringValue"),
    Mistake("a stream that answers once", "Count", stream(cast("Any", answers_once)), "it answers once; a stream is an async generator, which yields each message"),
    Mistake("a unary that yields", "Say", unary(cast("Any", count)), "it yields; an answer that is one message is returned"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_names_the_method_and_what_to_write_instead(mistake: Mistake) -> None:
    run = mistake.handler.run
    with pytest.raises(RegistrationError) as caught:
        RpcApp().add(SERVICE, {**ALL, mistake.method: mistake.handler})
    file, line = PurePath(run.__code__.co_filename).name, run.__code__.co_firstlineno
    where = f"gRPC {SERVICE}.{mistake.method} ({run.__name__}, {file}:{line}): "
    assert str(caught.value) == where + mistake.says


@pytest.mark.parametrize(
    ("service", "handlers", "says"),
    [
        (SERVICE, {}, f"gRPC {SERVICE}: Chat, Count, Join, Say has no handler; add one for each method, or name it in without"),
        (SERVICE, {**ALL, "Sey": unary(say)}, f"gRPC {SERVICE}: its proto has no method Sey; did you mean Say?"),
        (SERVICE, {**ALL, "Zoom": unary(say)}, f"gRPC {SERVICE}: its proto has no method Zoom; it has Say, Count, Join, Chat"),
        ("paceline.test.Ecko", ALL, "gRPC paceline.test.Ecko: there is no such service; import the module that protoc made of its proto (…_pb2), and write the full name, package.Service"),
    ],
    ids=["none", "nearly", "one too many", "no such service"],
)  # fmt: skip
def test_every_method_of_a_service_that_is_there_needs_a_handler(
    service: str, handlers: dict[str, MethodHandler], says: str
) -> None:
    with pytest.raises(RegistrationError) as caught:
        RpcApp().add(service, handlers)
    assert str(caught.value) == says


def test_interceptors_see_each_method_once_and_run_in_order() -> None:
    seen: list[tuple[str, str]] = []

    def named(name: str) -> Interceptor:
        def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
            seen.append((name, method.path))
            return endpoint

        return wrap

    add_echo(RpcApp(named("outer"), named("inner")))
    paths = ["unknown", SAY, COUNT, JOIN, CHAT]
    assert seen == [(name, path) for path in paths for name in ("inner", "outer")]


async def test_bytes_that_do_not_decode_are_invalid_argument() -> None:
    endpoints: dict[str, Endpoint] = {}

    def keep(endpoint: Endpoint, method: Method) -> Endpoint:
        endpoints[method.path] = endpoint
        return endpoint

    add_echo(RpcApp(keep))
    for path in (SAY, COUNT):
        call = Call(Method(path), b"\xff\xff\xff", FakeContext())
        with pytest.raises(Error, match="the request is not a google") as caught:
            await endpoints[path](call)
        assert caught.value.code is Code.INVALID_ARGUMENT
    context = FakeContext()
    call = Call(Method(COUNT), StringValue(value="3").SerializeToString(), context)
    assert await endpoints[COUNT](call) is None
    assert [StringValue.FromString(raw).value for raw in context.written] == ["0", "1", "2"]
