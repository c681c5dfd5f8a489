"""The ASGI application beside gRPC on its port: gRPC-Web and Connect, for the same methods.

It looks at the method of HTTP and the content type only; all else is the protocols'. Paths that no
service has are answered by the protocol that was spoken (UNIMPLEMENTED), through all interceptors.
What is no call is a problem (RFC 9457) that says what this port speaks.
"""

from http import HTTPStatus
from typing import Final

from paceline.errors import Code
from paceline.grpc.app import RpcApp
from paceline.grpc.connect import (
    CODECS,
    STREAM_TYPES,
    UNARY_TYPES,
    answer_get,
    answer_stream,
    answer_unary,
    has_side_effects,
    read_query,
)
from paceline.grpc.cors import Cors
from paceline.grpc.grpc_web import CONTENT_TYPES, answer_grpc_web
from paceline.grpc.web_request import WebRequest
from paceline.http import HttpError, Receive, Scope, Send, send_problem

_KNOWN: Final = b", ".join([*UNARY_TYPES, *STREAM_TYPES, *sorted(CONTENT_TYPES)])
_SPOKEN: Final = (
    "this port speaks gRPC (HTTP/2), gRPC-Web and Connect:"
    " POST JSON to /package.Service/Method with content-type application/json"
)
_UTF8: Final = frozenset({b"utf-8", b'"utf-8"'})


class RpcWebApp:
    """An ASGI application; its settings are those of ``app``."""

    def __init__(self, app: RpcApp) -> None:
        self._app = app
        self._cors = Cors(app.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = WebRequest(scope, receive, send)
        method: str = scope["method"]
        request.shared += self._cors.fields(request.fields.get(b"origin"))
        try:
            if method == "POST":
                await self._post(request)
            elif method == "GET":
                await self._get(request)
            elif method == "OPTIONS" and b"access-control-request-method" in request.fields:
                await self._preflight(request)
            else:
                raise _not_allowed("POST")
        except HttpError as exc:
            exc.headers = [*exc.headers, *request.shared]
            await send_problem(scope, send, exc, {})

    async def _post(self, request: WebRequest) -> None:
        app, path = self._app, request.scope["path"]
        kind = media_type(request.fields.get(b"content-type", b""))
        found = app.find(path)
        route = app.unknown(path) if found is None else found
        if kind in CONTENT_TYPES:
            await answer_grpc_web(app, route, request, kind)
        elif kind in UNARY_TYPES:
            if found is not None and found.kind != "unary":
                raise _wrong_type(f"{path} streams: send content-type application/connect+json")
            await answer_unary(app, route, request, kind)
        elif kind in STREAM_TYPES:
            if found is not None and found.kind == "unary":
                raise _wrong_type(f"{path} does not stream: send content-type application/json")
            await answer_stream(app, route, request, kind)
        elif kind == b"application/grpc" or kind.startswith(b"application/grpc+"):
            raise HttpError(
                HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
                "gRPC needs HTTP/2; by HTTP/1.1 the same methods can be called by gRPC-Web"
                " and Connect",
            )
        elif found is None:
            raise _not_found(path)
        else:
            raise _wrong_type(_SPOKEN)

    async def _get(self, request: WebRequest) -> None:
        path = request.scope["path"]
        route = self._app.find(path)
        if route is None:
            raise _not_found(path)
        if has_side_effects(route):
            raise _not_allowed("POST")
        query = read_query(request.scope["query_string"])
        if query.get(b"encoding") not in CODECS:
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "say encoding=json or encoding=proto"
            )
        await answer_get(self._app, route, request, query)

    async def _preflight(self, request: WebRequest) -> None:
        headers = self._cors.preflight(request.fields)
        if headers is None:
            raise HttpError(
                HTTPStatus.FORBIDDEN,
                "this origin may not call the service from a browser (see its CORS origins)",
                code=Code.PERMISSION_DENIED,
            )
        request.shared = []
        await request.respond(HTTPStatus.NO_CONTENT, headers, b"")


def media_type(value: bytes) -> bytes:
    """The type without its parameters; empty where a charset other than UTF-8 is among them."""
    kind, _, parameters = value.partition(b";")
    for parameter in parameters.split(b";"):
        name, _, setting = parameter.strip().lower().partition(b"=")
        if name == b"charset" and setting not in _UTF8:
            return b""
    return kind.strip().lower()


def _not_allowed(allowed: str) -> HttpError:
    return HttpError(HTTPStatus.METHOD_NOT_ALLOWED, _SPOKEN, headers=[(b"allow", allowed.encode())])


def _not_found(path: str) -> HttpError:
    text = f"there is no method {path[:200]}; {_SPOKEN}"
    return HttpError(HTTPStatus.NOT_FOUND, text, code=Code.NOT_FOUND)


def _wrong_type(text: str) -> HttpError:
    return HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text, headers=[(b"accept-post", _KNOWN)])
