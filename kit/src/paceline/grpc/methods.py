"""Methods as values: a typed handler, its kind, and what its caller needs.

``unary(self.get_record, scopes=[READ])``: one message in, one out. ``stream``: one in, many out,
as an async generator. ``exchange``: many in, many out. A request that does not decode is
INVALID_ARGUMENT. A stream's next message is not produced before the client has taken the previous
one, so a slow client holds its generator back.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from paceline.errors import Code, Error
from paceline.grpc.call import Call, Endpoint
from paceline.trace import span

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)
Kind = Literal["unary", "stream", "exchange"]
_STREAMING: Final[dict[Kind, tuple[bool, bool]]] = {
    "unary": (False, False),
    "stream": (False, True),
    "exchange": (True, True),
}


@dataclass(frozen=True, slots=True)
class MethodHandler:
    """A handler and its declaration; made by `unary`, `stream` and `exchange`."""

    kind: Kind
    run: Callable[[Any, Call], Any]
    scopes: frozenset[str]
    public: bool


def unary(
    run: Callable[[Q, Call], Awaitable[R]], *, scopes: Sequence[str] = (), public: bool = False
) -> MethodHandler:
    """One message in, one out. ``scopes``: its caller needs; ``public``: it needs no token."""
    return MethodHandler("unary", run, frozenset(scopes), public)


def stream(
    run: Callable[[Q, Call], AsyncGenerator[R, None]],
    *,
    scopes: Sequence[str] = (),
    public: bool = False,
) -> MethodHandler:
    """One message in, many out. ``scopes``: its caller needs; ``public``: it needs no token."""
    return MethodHandler("stream", run, frozenset(scopes), public)


def exchange(
    run: Callable[[AsyncIterator[Q], Call], AsyncGenerator[R, None]],
    *,
    scopes: Sequence[str] = (),
    public: bool = False,
) -> MethodHandler:
    """Many messages in, many out. ``scopes``: its caller needs; ``public``: it needs no token."""
    return MethodHandler("exchange", run, frozenset(scopes), public)


def endpoint_of(handler: MethodHandler, descriptor: MethodDescriptor) -> Endpoint:
    """The handler on bytes. Errors: ValueError when its kind is not the proto's."""
    if (descriptor.client_streaming, descriptor.server_streaming) != _STREAMING[handler.kind]:
        raise ValueError(f"{descriptor.full_name} is not {handler.kind}")
    parse = _parser_of(descriptor)
    if handler.kind == "unary":
        return _unary(handler.run, parse)
    return _streaming(handler.run, parse, many=handler.kind == "exchange")


def _unary(run: Callable[[Message, Call], Awaitable[Message]], parse: "_Parse") -> Endpoint:
    name = getattr(run, "__qualname__", "handler")

    async def answer(call: Call) -> bytes:
        request = parse(call.request)
        with span(name):
            reply = await run(request, call)
        return reply.SerializeToString()

    return answer


def _streaming(
    run: Callable[[Any, Call], AsyncGenerator[Message, None]], parse: "_Parse", *, many: bool
) -> Endpoint:
    async def parsed(requests: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
        async for request in requests:
            yield parse(request)

    async def answer(call: Call) -> None:
        request = parsed(call.request) if many else parse(call.request)
        async with aclosing(run(request, call)) as replies:
            async for reply in replies:
                await call.write(reply.SerializeToString())

    return answer


_Parse = Callable[[bytes], Message]


def _parser_of(descriptor: MethodDescriptor) -> _Parse:
    kind = GetMessageClass(descriptor.input_type)
    message = f"the request is not a {kind.DESCRIPTOR.full_name}"

    def parse(raw: bytes) -> Message:
        try:
            return kind.FromString(raw)
        except DecodeError as exc:
            raise Error(Code.INVALID_ARGUMENT, message) from exc

    return parse
