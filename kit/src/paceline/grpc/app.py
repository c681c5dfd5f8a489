"""The application: the methods of all services, wrapped once, in the form that grpcio needs.

``app = RpcApp(request_id(), access_log(log), recover(log), ...)``, then
``app.add("my.v1.Things", {"GetThing": unary(handler.get_thing, scopes=[READ]), ...})``: every
method of the service must have a handler. Interceptors run in the order written, around every
method and around paths that no service has, so an unknown method is logged and refused like any
other. Building an application does no I/O; `RpcServer` serves it.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from functools import reduce
from typing import Any, Final, Never, Protocol

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from paceline.edge import RegistrationError, suggestion
from paceline.errors import Code, Error
from paceline.grpc.call import Call, Context, Endpoint, Interceptor, Metadata, Method
from paceline.grpc.methods import MethodHandler, check_handler, endpoint_of
from paceline.grpc.status import DETAILS, STATUS, error_status_of
from paceline.grpc.streams import OpenStreams

_MAX_LOGGED_PATH: Final = 200


class AbortableContext(Context, Protocol):
    """grpcio's context, with what ends a call."""

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any, /) -> Never:
        """Send the status and raise."""
        ...

    def set_trailing_metadata(self, trailing_metadata: Any, /) -> None:
        """Send this with the status."""
        ...


class RpcApp(grpc.GenericRpcHandler):
    """Services and their interceptors, the outermost first.

    Setting: ``max_streams`` that may be open at once; one more is RESOURCE_EXHAUSTED.
    """

    def __init__(self, *interceptors: Interceptor, max_streams: int = 5_000) -> None:
        self.services: list[str] = []
        self.methods: list[Method] = []
        self.described: list[tuple[ServiceDescriptor, Mapping[str, MethodHandler]]] = []
        self.streams: OpenStreams = OpenStreams(limit=max_streams)
        self._interceptors = (*interceptors, self.streams.intercept)
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._unknown = self._wrapped(_unknown, Method("unknown", public=True))

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return self._in_flight

    def add(
        self,
        service: str | ServiceDescriptor,
        handlers: Mapping[str, MethodHandler],
        *,
        without: Collection[str] = (),
    ) -> None:
        """Add a service by its full name; the module of its messages must have been imported.

        Or by its descriptor, where it is not in protobuf's default pool. ``without``: methods that
        stay unimplemented. Errors: `RegistrationError` unless ``handlers`` has all the others, and
        each can be a handler of its method.
        """
        descriptor = _find_service(service) if isinstance(service, str) else service
        _check_names(descriptor, handlers, without)
        for name, handler in handlers.items():
            path = f"/{descriptor.full_name}/{name}"
            check_handler(handler, descriptor.methods_by_name[name])
            method = Method(path, handler.kind != "unary", handler.scopes, handler.public)
            endpoint = self._wrapped(endpoint_of(handler, descriptor.methods_by_name[name]), method)
            self._methods[path] = self._served(handler.kind, method, endpoint)
            self.methods.append(method)
        self.services.append(descriptor.full_name)
        self.described.append((descriptor, handlers))

    def service(self, handler_call_details: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """Find the method of a call; grpcio's interface."""
        path: str = handler_call_details.method
        found = self._methods.get(path)
        if found is not None:
            return found
        method = Method(path[:_MAX_LOGGED_PATH], public=True)
        # As an exchange, which reads nothing: whether the client streams is not known.
        return self._served("exchange", method, self._unknown)

    def end_streams(self) -> None:
        """Refuse new streams and end those that are open."""
        self.streams.close()

    async def until_idle(self) -> None:
        """Wait until no call is being answered."""
        while self._in_flight:
            self._idle.clear()
            await self._idle.wait()

    def _wrapped(self, endpoint: Endpoint, method: Method) -> Endpoint:
        return reduce(lambda inner, wrap: wrap(inner, method), self._interceptors[::-1], endpoint)

    async def _run(self, endpoint: Endpoint, call: Call, context: AbortableContext) -> bytes | None:
        self._in_flight += 1
        try:
            reply = await endpoint(call)
        except Exception as exc:  # noqa: BLE001 - grpcio would send its text to the client
            reply, call.error = None, error_status_of(exc)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        if call.error is not None:
            error = call.error
            trailing: Metadata = [*call.trailing, (DETAILS, error.details)]
            await context.abort(STATUS[error.code], error.message, tuple(trailing))
        if call.trailing:
            context.set_trailing_metadata(call.trailing)
        return reply

    def _served(
        self, kind: str, method: Method, endpoint: Endpoint
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        # grpcio inspects what it is given: these must be coroutine functions.
        async def one(request: bytes, context: Any) -> bytes | None:
            return await self._run(endpoint, Call(method, request, context), context)

        async def many(request: bytes | AsyncIterator[bytes], context: Any) -> None:
            await self._run(endpoint, Call(method, request, context), context)

        if kind == "unary":
            return grpc.unary_unary_rpc_method_handler(one)
        if kind == "stream":
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.stream_stream_rpc_method_handler(many)


def _find_service(service: str) -> ServiceDescriptor:
    try:
        found: ServiceDescriptor = descriptor_pool.Default().FindServiceByName(service)
    except KeyError as exc:
        raise RegistrationError(
            f"gRPC {service}",
            None,
            "there is no such service; import the module that protoc made of its proto (…_pb2),"
            " and write the full name, package.Service",
        ) from exc
    return found


def _check_names(
    service: ServiceDescriptor, handlers: Collection[str], without: Collection[str]
) -> None:
    known = list(service.methods_by_name)
    for name in handlers:
        if name not in known:
            raise RegistrationError(
                f"gRPC {service.full_name}",
                None,
                f"its proto has no method {name}"
                f"{suggestion(name, known) or '; it has ' + ', '.join(known)}",
            )
    if missing := sorted({*known} - {*handlers} - {*without}):
        raise RegistrationError(
            f"gRPC {service.full_name}",
            None,
            f"{', '.join(missing)} has no handler; add one for each method, or name it in without",
        )


async def _unknown(call: Call) -> bytes | None:
    raise Error(Code.UNIMPLEMENTED, f"there is no method {call.method.path}")
