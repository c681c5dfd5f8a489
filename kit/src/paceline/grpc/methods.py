"""Methods as values: a typed handler, its kind, and what its caller needs.

``unary(self.get_record, scopes=[READ])``: one message in, one out. ``stream``: one in, many out,
as an async generator. ``exchange``: many in, many out. A request that does not decode is
INVALID_ARGUMENT. A stream's next message is not produced before the client has taken the previous
one, so a slow client holds its generator back.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, get_args, get_type_hints

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from paceline.edge import RegistrationError, parameters_of
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
_WORDS: Final[dict[Kind, str]] = {
    "unary": "one message in, one out",
    "stream": "one message in, many out",
    "exchange": "many messages in, many out",
}
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_ARGUMENTS: Final = 2  # the request and the call


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


def check_handler(handler: MethodHandler, descriptor: MethodDescriptor) -> None:
    """Refuse a handler that cannot be one of this method. Errors: `RegistrationError`."""
    problem = _kind_problem(handler, descriptor) or _signature_problem(handler, descriptor)
    if problem is not None:
        raise RegistrationError(f"gRPC {descriptor.full_name}", handler.run, problem)


def _kind_problem(handler: MethodHandler, descriptor: MethodDescriptor) -> str | None:
    streaming = (descriptor.client_streaming, descriptor.server_streaming)
    if streaming == _STREAMING[handler.kind]:
        return None
    fitting: list[Kind] = [kind for kind, each in _STREAMING.items() if each == streaming]
    if not fitting:
        return "a stream of requests with one answer is not supported; let the answer stream, too"
    kind = fitting[0]
    return f"in the proto it is {_WORDS[kind]}; write {kind}(...) and not {handler.kind}(...)"


def _signature_problem(handler: MethodHandler, descriptor: MethodDescriptor) -> str | None:
    run, request = handler.run, "requests" if handler.kind == "exchange" else "request"
    if inspect.iscoroutinefunction(run) and handler.kind != "unary":
        return "it answers once; a stream is an async generator, which yields each message"
    if inspect.isasyncgenfunction(run) and handler.kind == "unary":
        return "it yields; an answer that is one message is returned"
    if inspect.isfunction(run) and not _is_async(run):
        return f"it is not async; write async def {run.__name__}"
    parameters = parameters_of(run)
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if len(positional) != _ARGUMENTS and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return f"it takes {len(positional)} of the two arguments; write ({request}, call: Call)"
    return _type_problem(handler, descriptor, positional)


def _type_problem(
    handler: MethodHandler, descriptor: MethodDescriptor, parameters: Sequence[inspect.Parameter]
) -> str | None:
    """Messages that are annotated must be the proto's; what cannot be resolved is not looked at."""
    try:
        hints = get_type_hints(handler.run)
    except (NameError, TypeError):
        return None
    first = hints.get(parameters[0].name) if parameters else None
    pairs = [
        ("takes", first, descriptor.input_type),
        ("answers with", hints.get("return"), descriptor.output_type),
    ]
    for verb, hint, expected in pairs:
        found = next((each for each in (hint, *get_args(hint)) if _is_message(each)), None)
        if found is not None and found.DESCRIPTOR.full_name != expected.full_name:
            return f"it {verb} {found.DESCRIPTOR.full_name}; the proto has {expected.full_name}"
    return None


def _is_message(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Message) and kind is not Message


def _is_async(run: object) -> bool:
    return inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)


def endpoint_of(handler: MethodHandler, descriptor: MethodDescriptor) -> Endpoint:
    """The handler on bytes; its kind is the proto's."""
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
