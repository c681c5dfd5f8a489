"""Methods and their registration: mistakes are errors when the app is built."""

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from rpc_echo import CHAT, COUNT, SAY, SERVICE, FakeContext, add_echo, chat, count, say

from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call, Endpoint, Interceptor, Method
from paceline.grpc.methods import MethodHandler, exchange, stream, unary

ALL = {"Say": unary(say), "Count": stream(count), "Chat": exchange(chat)}


@pytest.mark.parametrize("handlers", [
    {}, {"Say": unary(say)}, {**ALL, "Shout": unary(say)},
], ids=["none", "one", "one too many"])  # fmt: skip
def test_every_method_of_a_service_needs_a_handler(handlers: dict[str, MethodHandler]) -> None:
    with pytest.raises(ValueError, match="missing or unknown"):
        RpcApp().add(SERVICE, handlers)


def test_a_method_left_out_on_purpose_is_named() -> None:
    app = RpcApp()
    app.add(SERVICE, {"Say": unary(say)}, without=["Count", "Chat", "NotYetThere"])
    assert app.services == [SERVICE]


@pytest.mark.parametrize("name", ["Say", "Count", "Chat"])
def test_a_handlers_kind_is_its_protos(name: str) -> None:
    wrong = stream(count) if name == "Say" else unary(say)
    with pytest.raises(ValueError, match="is not"):
        RpcApp().add(SERVICE, {**ALL, name: wrong})


def test_interceptors_see_each_method_once_and_run_in_order() -> None:
    seen: list[tuple[str, str]] = []

    def named(name: str) -> Interceptor:
        def wrap(endpoint: Endpoint, method: Method) -> Endpoint:
            seen.append((name, method.path))
            return endpoint

        return wrap

    add_echo(RpcApp(named("outer"), named("inner")))
    paths = ["unknown", SAY, COUNT, CHAT]
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
