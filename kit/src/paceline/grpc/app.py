"""The application: the methods of all services, wrapped once, and gRPC's rules for requests.

``app = RpcApp(request_id(), access_log(log), recover(log), ...)``, then
``app.add("my.v1.Things", {"GetThing": unary(handler.get_thing, scopes=[READ]), ...})``: every
method of the service must have a handler. Interceptors run in the order written, around every
method and around paths that no service has, so an unknown method is logged and refused like any
other. Building an application does no I/O; `RpcServer` serves it.

`RpcApp.open` is gRPC over HTTP/2 (PROTOCOL-HTTP2.md); other protocols find a method by
`RpcApp.find` and run it by `RpcApp.run`. What is refused before there is a call costs no task: what
is no gRPC, an unknown encoding, a malformed deadline, a call for which there is no room.
"""

from collections.abc import Callable, Collection, Mapping
from functools import reduce
from http import HTTPStatus
from typing import Final, Protocol

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from paceline.edge import RegistrationError, grpc_timeout, suggestion
from paceline.errors import Code, Error
from paceline.grpc.call import Call, Endpoint, ErrorStatus, Interceptor, Method
from paceline.grpc.cors import check_origins
from paceline.grpc.encodings import known_encoding
from paceline.grpc.late_refusal import LateRefusal
from paceline.grpc.limits import RpcLimits
from paceline.grpc.metadata import fields_of
from paceline.grpc.methods import MethodHandler, check_handler, endpoint_of
from paceline.grpc.refusals import MALFORMED_TIMEOUT
from paceline.grpc.responses import HEADS, refusal, unknown_encoding
from paceline.grpc.route import ActiveCalls, Route
from paceline.grpc.status import error_status_of
from paceline.grpc.stream_call import CallHead, RequestSequence, SingleRequest
from paceline.grpc.streams import OpenStreams
from paceline.http import Headers
from paceline.http.server import RequestStream, StreamHandler

_MAX_LOGGED_PATH: Final = 200
_SINGLE: Final = frozenset({"unary", "stream"})


class AdmissionCheck(Protocol):
    """Decides about a call before there is a task; `interceptors.PreAdmission` implements it."""

    @property
    def status(self) -> ErrorStatus:
        """How a call is refused."""
        ...

    def for_method(self, method: Method, /) -> Callable[[], bool]:
        """Whether a call of this method is refused, to be asked once for each."""
        ...


class RpcApp:
    """Services and their interceptors, the outermost first; a `StreamApp`.

    Settings: ``max_streams`` of callers with a token that may be open at once, and
    ``max_public_streams`` of others, of which one address may have ``max_client_streams``; one more
    is RESOURCE_EXHAUSTED. ``admission_check`` may refuse a call when its headers have arrived.
    ``cors_origins``: where browsers may call from by gRPC-Web and Connect ("https://app.example",
    "*" for anywhere). Errors: ValueError for what is no origin.
    """

    def __init__(
        self,
        *interceptors: Interceptor,
        max_streams: int = 5_000,
        max_public_streams: int = 1_000,
        max_client_streams: int = 100,
        admission_check: AdmissionCheck | None = None,
        cors_origins: Collection[str] = (),
    ) -> None:
        self.cors_origins: frozenset[str] = check_origins(cors_origins)
        self.services: list[str] = []
        self.methods: list[Method] = []
        self.described: list[tuple[ServiceDescriptor, Mapping[str, MethodHandler]]] = []
        self.streams: OpenStreams = OpenStreams(
            limit=max_streams, public_limit=max_public_streams, client_limit=max_client_streams
        )
        self.overloaded: ErrorStatus | None = None
        """How a call is refused whose `Route.refuses` says so."""
        self._interceptors = (*interceptors, self.streams.intercept)
        self._timed = not any(getattr(each, "bounds_unary", False) for each in interceptors)
        self._check = admission_check
        self._refusal = b""
        if admission_check is not None:
            self.overloaded = admission_check.status
            self._refusal = refusal(self.overloaded)
        self._routes: dict[bytes, Route] = {}
        self._calls = ActiveCalls()
        self._unknown = self._wrapped(_unknown, Method("unknown", public=True))

    @property
    def limits(self) -> RpcLimits:
        """What clients may use; set by the server."""
        return self._calls.limits

    @limits.setter
    def limits(self, limits: RpcLimits) -> None:
        self._calls.limits = limits

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return self._calls.count

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
            described = descriptor.methods_by_name[name]
            check_handler(handler, described)
            method = Method(path, handler.kind != "unary", handler.scopes, handler.public)
            self._routes[path.encode()] = Route(
                method,
                handler.kind,
                self._wrapped(endpoint_of(handler, described), method),
                described,
                refuses=None if self._check is None else self._check.for_method(method),
                timed=self._timed or method.streams,
                compress=handler.compress,
            )
            self.methods.append(method)
        self.services.append(descriptor.full_name)
        self.described.append((descriptor, handlers))

    def find(self, path: str) -> Route | None:
        """The method at "/package.Service/Method"."""
        return self._routes.get(path.encode())

    def unknown(self, path: str) -> Route:
        """What answers a path that no service has; it reads nothing of the request."""
        return Route(Method(path[:_MAX_LOGGED_PATH], public=True), "exchange", self._unknown)

    def has_room(self) -> bool:
        """Whether one more call may be answered."""
        return self._calls.count < self._calls.limits.max_calls

    async def run(self, route: Route, call: Call) -> bytes | None:
        """Answer ``call`` of another protocol: its message, None after a stream or an error.

        The error, if there is one, is in ``call.error``; only cancellation is raised.
        """
        calls = self._calls
        calls.count += 1
        reply = None
        try:
            reply = await route.endpoint(call)
        except Exception as exc:  # noqa: BLE001 - nobody recovered, and the client waits
            call.error = error_status_of(exc)
        finally:
            calls.count -= 1
            if not calls.count:
                calls.end()
        return None if call.error is not None else reply

    def open(self, stream: RequestStream) -> StreamHandler | None:
        """Take a request of gRPC over HTTP/2; None: it is none."""
        head = stream.prepared
        if not isinstance(head, CallHead):
            head = self._read_head(stream)
            if not isinstance(head, CallHead):
                return head
            if head.route.descriptor is not None:  # else a service may be added that has it
                stream.prepared = head
        route = head.route
        if route.refuses is not None and route.refuses():
            return _refuse(stream, self._refusal, route)
        make = SingleRequest if route.kind in _SINGLE else RequestSequence
        return make(head, self._calls, stream).begin()

    def _read_head(self, stream: RequestStream) -> CallHead | StreamHandler | None:
        """The head of a call, or what has answered it already; None: it is none of gRPC."""
        fields = fields_of(stream.headers)
        kind = fields.get(b"content-type", b"")
        response = HEADS.get(kind)
        if response is None or stream.method != "POST":
            kind = kind.partition(b";")[0].strip().lower()
            if kind != b"application/grpc" and not kind.startswith(b"application/grpc+"):
                return None
            if stream.method != "POST":
                return _refuse(stream, _NOT_POST)
            response = HEADS.get(kind)
            if response is None:
                return _refuse(stream, _OTHER_CODEC)
        route = self._routes.get(stream.target)
        if route is None:
            route = self.unknown(stream.target.decode("latin-1"))
        timeout = None
        if (value := fields.get(b"grpc-timeout")) is not None:
            timeout = grpc_timeout(value)
            if timeout is None:
                return _refuse(stream, _MALFORMED_TIMEOUT, route)
        encoding = fields.get(b"grpc-encoding")
        if encoding is not None:
            try:
                encoding = known_encoding(encoding, "grpc-encoding")
            except Error as exc:
                return _refuse(stream, unknown_encoding(error_status_of(exc)), route)
        return CallHead(route, fields, response, timeout, encoding)

    def end_streams(self) -> None:
        """Refuse new streams and end those that are open."""
        self.streams.close()

    async def until_idle(self) -> None:
        """Wait until no call is being answered."""
        await self._calls.until_idle()

    def _wrapped(self, endpoint: Endpoint, method: Method) -> Endpoint:
        return reduce(lambda inner, wrap: wrap(inner, method), self._interceptors[::-1], endpoint)


class _Refused:
    """The handler of a stream that has been answered already."""

    def data_received(self, data: bytes) -> None:
        """See `StreamHandler`."""

    def end_received(self, trailers: Headers) -> None:
        """See `StreamHandler`."""

    def writable(self) -> None:
        """See `StreamHandler`."""

    def closed(self) -> None:
        """See `StreamHandler`."""


_REFUSED: Final = _Refused()


def _refuse(stream: RequestStream, block: bytes, route: Route | None = None) -> StreamHandler:
    if route is not None and route.kind not in _SINGLE:
        return LateRefusal(stream, block)
    stream.respond(block, b"", b"")
    return _REFUSED


_NOT_POST: Final = refusal(
    error_status_of(Error(Code.INTERNAL, "a gRPC call is a POST request")),
    status=HTTPStatus.METHOD_NOT_ALLOWED,
    headers=[(b"allow", b"POST")],
)
_OTHER_CODEC: Final = refusal(
    error_status_of(
        Error(Code.UNIMPLEMENTED, "messages are protobuf: send content-type application/grpc")
    ),
    status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_MALFORMED_TIMEOUT: Final = refusal(MALFORMED_TIMEOUT)


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
    service, _, name = call.method.path.lstrip("/").partition("/")
    raise Error(Code.UNIMPLEMENTED, f"there is no method {name} of a service {service}")
