"""Methods as values: a typed handler, its kind, and what its caller needs.

``unary(self.get_record, scopes=[READ])``: one message in, one out. ``stream``: one in, many out,
as an async generator. ``client_stream``: many in, one out, over which the handler iterates.
``exchange``: many in, many out. A request that does not decode is INVALID_ARGUMENT. A stream's next
message is not produced before the client has taken the previous one, so a slow client holds its
generator back.
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
from paceline.trace import recording_span, span

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)
Kind = Literal["unary", "stream", "client_stream", "exchange"]
_STREAMING: Final[dict[Kind, tuple[bool, bool]]] = {
    "unary": (False, False),
    "stream": (False, True),
    "client_stream": (True, False),
    "exchange": (True, True),
}
_WORDS: Final[dict[Kind, str]] = {
    "unary": "one message in, one out",
    "stream": "one message in, many out",
    "client_stream": "many messages in, one out",
    "exchange": "many messages in, many out",
}
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_ANSWERS_ONCE: Final[frozenset[Kind]] = frozenset({"unary", "client_stream"})
_ARGUMENTS: Final = 2  # the request and the call


@dataclass(frozen=True, slots=True)
class MethodHandler:
    """A handler and its declaration; made by `unary`, `stream`, `client_stream`, `exchange`.

    ``compress``: whether answers are compressed for clients that accept it.
    """

    kind: Kind
    run: Callable[[Any, Call], Any]
    scopes: frozenset[str]
    public: bool
    compress: bool = False


def unary(
    run: Callable[[Q, Call], Awaitable[R]],
    *,
    scopes: Sequence[str] = (),
    public: bool = False,
    compress: bool = False,
) -> MethodHandler:
    """One message in, one out. ``scopes``: its caller needs; ``public``: it needs no token.

    ``compress``: answers are compressed for clients that accept it.
    """
    return MethodHandler("unary", run, frozenset(scopes), public, compress)


def stream(
    run: Callable[[Q, Call], AsyncGenerator[R, None]],
    *,
    scopes: Sequence[str] = (),
    public: bool = False,
    compress: bool = False,
) -> MethodHandler:
    """One message in, many out. The settings are those of `unary`."""
    return MethodHandler("stream", run, frozenset(scopes), public, compress)


def client_stream(
    run: Callable[[AsyncIterator[Q], Call], Awaitable[R]],
    *,
    scopes: Sequence[str] = (),
    public: bool = False,
    compress: bool = False,
) -> MethodHandler:
    """Many messages in, one out. The settings are those of `unary`.

    async def add_all(requests: AsyncIterator[Item], call: Call) -> Summary:
        return Summary(count=len([item async for item in requests]))
    """
    return MethodHandler("client_stream", run, frozenset(scopes), public, compress)


def exchange(
    run: Callable[[AsyncIterator[Q], Call], AsyncGenerator[R, None]],
    *,
    scopes: Sequence[str] = (),
    public: bool = False,
    compress: bool = False,
) -> MethodHandler:
    """Many messages in, many out. The settings are those of `unary`."""
    return MethodHandler("exchange", run, frozenset(scopes), public, compress)


def check_handler(handler: MethodHandler, descriptor: MethodDescriptor) -> None:
    """Refuse a handler that cannot be one of this method. Errors: `RegistrationError`."""
    problem = _kind_problem(handler, descriptor) or _signature_problem(handler, descriptor)
    if problem is not None:
        raise RegistrationError(f"gRPC {descriptor.full_name}", handler.run, problem)


def _kind_problem(handler: MethodHandler, descriptor: MethodDescriptor) -> str | None:
    streaming = (descriptor.client_streaming, descriptor.server_streaming)
    if streaming == _STREAMING[handler.kind]:
        return None
    kind: Kind = next(kind for kind, each in _STREAMING.items() if each == streaming)
    return f"in the proto it is {_WORDS[kind]}; write {kind}(...) and not {handler.kind}(...)"


def _signature_problem(handler: MethodHandler, descriptor: MethodDescriptor) -> str | None:
    run, request = handler.run, "requests" if _STREAMING[handler.kind][0] else "request"
    if inspect.iscoroutinefunction(run) and handler.kind not in _ANSWERS_ONCE:
        return "it answers once; a stream is an async generator, which yields each message"
    if inspect.isasyncgenfunction(run) and handler.kind in _ANSWERS_ONCE:
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
    """The handler on bytes; its kind is the proto's.

    An `Error` in place of the bytes is what is wrong with the request, and raised here: within all
    interceptors.
    """
    parse = _parser_of(descriptor)
    if handler.kind == "unary":
        return _unary(handler.run, parse)
    if handler.kind == "client_stream":
        return _client_streaming(handler.run, parse)
    return _streaming(handler.run, parse, many=handler.kind == "exchange")


_Parse = Callable[[bytes], Message]


def _unary(run: Callable[[Message, Call], Awaitable[Message]], parse: _Parse) -> Endpoint:
    name = getattr(run, "__qualname__", "handler")

    async def answer(call: Call) -> bytes:
        request = parse(call.request)
        if recording_span() is None:
            reply = await run(request, call)
        else:
            with span(name):
                reply = await run(request, call)
        return reply.SerializeToString()

    return answer


def _client_streaming(run: Callable[[Any, Call], Awaitable[Message]], parse: _Parse) -> Endpoint:
    async def answer(call: Call) -> bytes:
        async with aclosing(_parsed(call.request, parse)) as requests:
            reply = await run(requests, call)
        return reply.SerializeToString()

    return answer


def _streaming(
    run: Callable[[Any, Call], AsyncGenerator[Message, None]], parse: _Parse, *, many: bool
) -> Endpoint:
    async def answer(call: Call) -> None:
        request = _parsed(call.request, parse) if many else parse(call.request)
        async with aclosing(run(request, call)) as replies:
            async for reply in replies:
                await call.write(reply.SerializeToString())

    return answer


async def _parsed(requests: AsyncIterator[bytes], parse: _Parse) -> AsyncGenerator[Message, None]:
    async for request in requests:
        yield parse(request)


def _parser_of(descriptor: MethodDescriptor) -> _Parse:
    kind = GetMessageClass(descriptor.input_type)
    message = f"the request is not a {kind.DESCRIPTOR.full_name}"

    def parse(raw: bytes | Error) -> Message:
        try:
            return kind.FromString(raw)  # type: ignore[arg-type]  # see below
        except DecodeError as exc:
            raise Error(Code.INVALID_ARGUMENT, message) from exc
        except TypeError:
            if isinstance(raw, Error):
                raise raw from None
            raise

    return parse
