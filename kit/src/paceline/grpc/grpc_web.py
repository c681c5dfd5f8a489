"""gRPC-Web (grpc/grpc doc/PROTOCOL-WEB.md): gRPC's messages over any version of HTTP.

The trailers are the last message, marked by the highest flag; where nothing came before them, they
are among the headers. ``application/grpc-web-text`` is the same in base64, message by message.
Compression is gRPC's, by ``grpc-encoding``, as clients outside browsers use it. A value of a
``-bin`` field is base64 in the trailers of text, too, as the conformance suite's clients read it.
"""

from base64 import b64encode
from http import HTTPStatus
from typing import Final

from paceline.edge import grpc_timeout
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.compression import choose_encoding
from paceline.grpc.envelopes import Envelopes, envelope
from paceline.grpc.framed_call import FramedCall
from paceline.grpc.metadata import metadata_fields
from paceline.grpc.refusals import MALFORMED_TIMEOUT
from paceline.grpc.responses import error_fields
from paceline.grpc.route import Route
from paceline.grpc.web_request import WebRequest
from paceline.http import Headers

_TEXT: Final = b"application/grpc-web-text"
_TRAILERS: Final = 0x80
CONTENT_TYPES: Final = frozenset(
    start + end
    for start in (b"application/grpc-web", _TEXT)
    for end in (b"", b"+proto")
)  # fmt: skip


async def answer_grpc_web(app: RpcApp, route: Route, request: WebRequest, kind: bytes) -> None:
    """Answer a request whose content type is ``kind``, one of `CONTENT_TYPES`."""
    fields = request.fields
    value = fields.get(b"grpc-timeout")
    timeout = None if value is None else grpc_timeout(value)
    call = GrpcWebCall(app, route, request, timeout)
    call.set_type(kind, fields.get(b"accept", b""))
    if value is not None and timeout is None:
        call.fault = MALFORMED_TIMEOUT
    if not await call.begins(fields.get(b"grpc-encoding"), "grpc-encoding"):
        return
    text = kind.startswith(_TEXT)
    await call.answer(Envelopes(request, call.unpack, app.limits.max_message, text=text))


class GrpcWebCall(FramedCall):
    """One call."""

    timeout_field = "grpc-timeout"
    accept_field = b"grpc-accept-encoding"
    _type = b""
    _text = False

    def set_type(self, kind: bytes, accepted: bytes) -> None:
        """Answer in the request's type, or as text where the client wants that."""
        self._text = kind.startswith(_TEXT) or _TEXT in accepted
        self._type = kind if kind.startswith(_TEXT) or not self._text else _TEXT + b"+proto"

    async def finish(self, call: Call, reply: bytes | None) -> None:
        """See `WebCall`."""
        if call.error is None or self.sent_head or call.initial:
            await super().finish(call, reply)
            return
        headers = [(b"content-type", self._type), *_trailers(call)]
        await self.request.respond(HTTPStatus.OK, headers, b"")

    def head(self, call: Call) -> Headers:
        """See `FramedCall`."""
        headers: Headers = [(b"content-type", self._type), *metadata_fields(call.initial)]
        if call.compression is not None:
            self.response_encoding: bytes | None = choose_encoding(
                self.fields.get(self.accept_field)
            )
            if self.response_encoding is not None:
                headers.append((b"grpc-encoding", self.response_encoding))
        return headers

    def frame(self, call: Call, message: bytes) -> bytes:
        """See `FramedCall`."""
        framed = super().frame(call, message)
        return b64encode(framed) if self._text else framed

    def end_frame(self, call: Call) -> bytes:
        """See `FramedCall`."""
        lines = b"".join([b"%b: %b\r\n" % field for field in _trailers(call)])
        framed = envelope(_TRAILERS, lines)
        return b64encode(framed) if self._text else framed


def _trailers(call: Call) -> Headers:
    status = [(b"grpc-status", b"0")] if call.error is None else error_fields(call.error)
    return status + metadata_fields(call.trailing)
