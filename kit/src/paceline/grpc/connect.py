"""Connect (connectrpc.com/docs/protocol): calls that curl and browsers can make.

A unary call is a POST of one message, as protobuf or as JSON, answered by one message or by an
error with a status of HTTP; a method without side effects is called by GET, too. Streams are
envelopes whose last one is the status. Headers of the answer are ``initial``, and ``trailing``
metadata has the prefix ``trailer-`` where there is no last envelope.
"""

from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor_pb2 import MethodOptions

from paceline.errors import Code, Error
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call, ErrorStatus
from paceline.grpc.connect_errors import CODES, encode_end, encode_error
from paceline.grpc.encodings import preferred_encoding, unpack
from paceline.grpc.envelopes import Envelopes, envelope
from paceline.grpc.framed_call import FramedCall
from paceline.grpc.json_messages import Codec, json_codec
from paceline.grpc.metadata import metadata_fields
from paceline.grpc.route import Route
from paceline.grpc.status import error_status_of
from paceline.grpc.web_call import Request, WebCall
from paceline.grpc.web_request import WebRequest
from paceline.http import Headers

_JSON: Final = b"json"
_VERSION_FIELD: Final = b"connect-protocol-version"
_MAX_DIGITS: Final = 10
_END: Final = 2
_OF_PROTOCOL: Final = frozenset(
    {b"content-encoding", b"accept-encoding", b"host", b"connection", b"accept"}
)
CODECS: Final = frozenset({_JSON, b"proto"})
UNARY_TYPES: Final = {b"application/json": _JSON, b"application/proto": b"proto"}
STREAM_TYPES: Final = {
    b"application/connect+json": _JSON,
    b"application/connect+proto": b"proto",
}


def has_side_effects(route: Route) -> bool:
    """Whether the method must not be called by GET."""
    if route.descriptor is None or route.kind != "unary":
        return True
    level: int = route.descriptor.GetOptions().idempotency_level
    return level != MethodOptions.NO_SIDE_EFFECTS


async def answer_unary(app: RpcApp, route: Route, request: WebRequest, kind: bytes) -> None:
    """Answer a POST of one message; ``kind``: one of `UNARY_TYPES`."""
    fields = request.fields
    call = ConnectUnaryCall(app, route, request, UNARY_TYPES[kind])
    encoding = fields.get(b"content-encoding")
    call.check_version(fields.get(_VERSION_FIELD), "connect-protocol-version: 1")
    if not await call.begins(encoding, "content-encoding"):
        return
    await call.answer(await call.arrived(request.read(app.limits.max_message)))


async def answer_get(
    app: RpcApp, route: Route, request: WebRequest, query: Mapping[bytes, bytes]
) -> None:
    """Answer a GET of a method without side effects; ``encoding`` in ``query``: of `CODECS`."""
    call = ConnectUnaryCall(app, route, request, query[b"encoding"])
    version = query.get(b"connect")
    version = None if version is None else version.removeprefix(b"v")
    call.check_version(version, "connect=v1")
    if not await call.begins(query.get(b"compression"), "compression"):
        return
    await call.answer(_message_of(query))


def read_query(query: bytes) -> Mapping[bytes, bytes]:
    """The parameters of a query, as bytes; of one that comes twice the first."""
    found: dict[bytes, bytes] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        found.setdefault(name, unquote_to_bytes(value.replace(b"+", b" ")))
    return found


def _message_of(query: Mapping[bytes, bytes]) -> bytes | Error:
    message = query.get(b"message")
    if message is None:
        return Error(Code.INVALID_ARGUMENT, "the query has no message=")
    if query.get(b"base64") != b"1":
        return message
    message = message.rstrip(b"=")
    try:
        return b64decode(message + b"=" * (-len(message) % 4), altchars=b"-_", validate=True)
    except BadBase64:
        return Error(Code.INVALID_ARGUMENT, "message= is not base64 (RFC 4648, URL-safe)")


async def answer_stream(app: RpcApp, route: Route, request: WebRequest, kind: bytes) -> None:
    """Answer a request of envelopes; ``kind``: one of `STREAM_TYPES`."""
    fields = request.fields
    call = ConnectStreamCall(app, route, request, kind)
    encoding = fields.get(b"connect-content-encoding")
    call.check_version(fields.get(_VERSION_FIELD), "connect-protocol-version: 1")
    if not await call.begins(encoding, "connect-content-encoding"):
        return
    await call.answer(Envelopes(request, call.unpack, app.limits.max_message))


class ConnectCall(WebCall):
    """What unary calls and streams have in common: deadline, encodings, JSON."""

    timeout_field = "connect-timeout-ms"
    encode: Codec | None = None
    """Makes JSON of an answer; None: it is protobuf."""
    decode: Codec | None = None
    accept_field = b"accept-encoding"

    def __init__(self, app: RpcApp, route: Route, request: WebRequest) -> None:
        value = request.fields.get(b"connect-timeout-ms")
        digits = value is not None and value.isdigit() and len(value) <= _MAX_DIGITS
        super().__init__(app, route, request, int(value or 0) / 1e3 if digits else None)
        if value is not None and not digits:
            self.fault: ErrorStatus | None = _MALFORMED_TIMEOUT

    def use_json(self) -> None:
        """Read and write JSON."""
        if self.route.descriptor is not None:
            self.decode, self.encode = json_codec(self.route.descriptor)

    @property
    def headers(self) -> Headers:
        """See `Context`."""
        return [
            field
            for field in super().headers
            if field[0] not in _OF_PROTOCOL and not field[0].startswith(b"connect-")
        ]

    def check_version(self, version: bytes | None, known: str) -> None:
        """Refuse another version of the protocol; ``known``: how the client asks for this one."""
        if version is not None and version != b"1":
            text = f"this is version 1 of Connect: send {known}"
            self.fault = error_status_of(Error(Code.INVALID_ARGUMENT, text))

    def choose_encoding(self, call: Call) -> bytes | None:
        """The answer's encoding, if it is to have one."""
        if call.compression is None:
            return None
        accepted = self.fields.get(self.accept_field)
        self.response_encoding: bytes | None = preferred_encoding(accepted, self.encoding)
        return self.response_encoding


class ConnectUnaryCall(ConnectCall):
    """A call of one message, answered by one."""

    def __init__(self, app: RpcApp, route: Route, request: WebRequest, codec: bytes) -> None:
        super().__init__(app, route, request)
        self._type = b"application/" + codec
        if codec == _JSON:
            self.use_json()

    async def answer(self, body: bytes | Error) -> None:
        """Run the call on the body."""
        message: Request = body
        if not isinstance(body, Error):
            try:
                if body and self.encoding is not None:
                    self.received_compressed: bool = True
                    body = unpack(1, body, self.encoding, self.app.limits.max_message)
                message = body if self.decode is None else self.decode(body)
            except Error as exc:
                message = exc
        await self.run(message)

    async def send_initial(self, call: Call, /) -> None:
        """See `Context`. There is nothing before the only message."""

    async def finish(self, call: Call, reply: bytes | None) -> None:
        """See `WebCall`."""
        headers = metadata_fields(call.initial)
        headers += [(b"trailer-" + name, value) for name, value in metadata_fields(call.trailing)]
        if call.error is not None:
            headers.append((b"content-type", b"application/json"))
            status = CODES[call.error.code].status
            if self.route.descriptor is None:
                status = HTTPStatus.NOT_FOUND  # of which Connect's clients make UNIMPLEMENTED, too
            await self.request.respond(status, headers, encode_error(call.error))
            return
        body = reply or b""
        if self.encode is not None:
            body = self.encode(body)
        headers.append((b"content-type", self._type))
        if (encoding := self.choose_encoding(call)) is not None:
            headers.append((b"vary", self.accept_field))
            compressed, body = self.packed(call, body)
            if compressed:
                headers.append((b"content-encoding", encoding))
        await self.request.respond(HTTPStatus.OK, headers, body)


class ConnectStreamCall(ConnectCall, FramedCall):
    """A call of envelopes, any number of messages either way."""

    accept_field = b"connect-accept-encoding"

    def __init__(self, app: RpcApp, route: Route, request: WebRequest, kind: bytes) -> None:
        super().__init__(app, route, request)
        self._type = kind
        if STREAM_TYPES[kind] == _JSON:
            self.use_json()

    def head(self, call: Call) -> Headers:
        """See `FramedCall`."""
        headers: Headers = [(b"content-type", self._type), *metadata_fields(call.initial)]
        if (encoding := self.choose_encoding(call)) is not None:
            headers.append((b"connect-content-encoding", encoding))
        return headers

    def frame(self, call: Call, message: bytes) -> bytes:
        """See `FramedCall`."""
        return super().frame(call, message if self.encode is None else self.encode(message))

    def end_frame(self, call: Call) -> bytes:
        """See `FramedCall`."""
        return envelope(_END, encode_end(call.error, metadata_fields(call.trailing)))

    def unpack(self, flags: int, message: bytes) -> bytes:
        """See `FramedCall`."""
        message = super().unpack(flags, message)
        return message if self.decode is None else self.decode(message)


_MALFORMED_TIMEOUT: Final[ErrorStatus] = error_status_of(
    Error(
        Code.INVALID_ARGUMENT, "connect-timeout-ms is malformed: send up to 10 digits, milliseconds"
    )
)
