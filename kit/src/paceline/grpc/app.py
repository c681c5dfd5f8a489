"""The application: the methods of all services, wrapped once, in the form that grpcio asks for.

``app = RpcApp(request_id(), access_log(log), recover(log), ...)``, then
``app.add("my.v1.Things", {"GetThing": unary(handler.get_thing, scopes=[READ]), ...})``: every
method of the service must be there. Interceptors run in the order written, around every method
there is and around what no service has, so an unknown method is logged and refused like any other.
Building it does no I/O. What listens is ``server``; read ``methods`` for handlers.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from functools import reduce
from typing import Any, Final, Never, Protocol

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from paceline.errors import Code, Error
from paceline.grpc.call import Call, Context, Endpoint, Interceptor, Metadata, Method
from paceline.grpc.methods import Handler, endpoint_of
from paceline.grpc.status import DETAILS, STATUS, refusal_of
from paceline.grpc.streams import Streams

_MAX_PATH: Final = 200


class AbortableContext(Context, Protocol):
    """grpcio's context, also with what ends a call."""

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any, /) -> Never:
        """Send the status and raise."""
        ...

    def set_trailing_metadata(self, trailing_metadata: Any, /) -> None:
        """Send this with the status."""
        ...


class RpcApp(grpc.GenericRpcHandler):
    """Services and their interceptors. Setting: ``max_streams`` that may be open at once."""

    def __init__(self, *interceptors: Interceptor, max_streams: int = 5_000) -> None:
        self.services: list[str] = []
        self.streams: Streams = Streams(limit=max_streams)
        self._interceptors = (*interceptors, self.streams.around)
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._unknown = self._wrapped(_unknown, Method("unknown", public=True))

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return self._in_flight

    def add(
        self, service: str, handlers: Mapping[str, Handler], *, without: Collection[str] = ()
    ) -> None:
        """Add a service by its full name; the module of its messages must have been imported.

        Errors: ValueError unless there is a handler for each of its methods but those ``without``.
        """
        descriptor: ServiceDescriptor = descriptor_pool.Default().FindServiceByName(service)
        if wrong := set(handlers) ^ (set(descriptor.methods_by_name) - set(without)):
            raise ValueError(f"{service}: missing or unknown: {', '.join(sorted(wrong))}")
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            method = Method(path, handler.kind != "unary", handler.scopes, handler.public)
            endpoint = self._wrapped(endpoint_of(handler, descriptor.methods_by_name[name]), method)
            self._methods[path] = self._served(handler.kind, method, endpoint)
        self.services.append(service)

    def service(self, handler_call_details: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """What grpcio asks for each call: how to serve it."""
        path: str = handler_call_details.method
        found = self._methods.get(path)
        if found is not None:
            return found
        method = Method(path[:_MAX_PATH], public=True)
        # In the form that reads nothing, for nobody knows how this client talks.
        return self._served("exchange", method, self._unknown)

    def end_streams(self) -> None:
        """Stop letting streams in and end those that are open."""
        self.streams.end()

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
        except Exception as exc:  # noqa: BLE001 - grpcio would show its text to the caller
            reply, call.refusal = None, refusal_of(exc)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        if call.refusal is not None:
            refusal = call.refusal
            trailing: Metadata = [*call.trailing, (DETAILS, refusal.details)]
            await context.abort(STATUS[refusal.code], refusal.message, tuple(trailing))
        if call.trailing:
            context.set_trailing_metadata(call.trailing)
        return reply

    def _served(
        self, kind: str, method: Method, endpoint: Endpoint
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        # grpcio tells by inspection what it is given: these must be coroutine functions.
        async def one(request: bytes, context: Any) -> bytes | None:
            return await self._run(endpoint, Call(method, request, context), context)

        async def many(request: bytes | AsyncIterator[bytes], context: Any) -> None:
            await self._run(endpoint, Call(method, request, context), context)

        if kind == "unary":
            return grpc.unary_unary_rpc_method_handler(one)
        if kind == "stream":
            return grpc.unary_stream_rpc_method_handler(many)
        return grpc.stream_stream_rpc_method_handler(many)


async def _unknown(call: Call) -> bytes | None:
    raise Error(Code.UNIMPLEMENTED, f"there is no method {call.method.path}")
