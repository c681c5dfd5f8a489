"""A typed handler as an ASGI application: arguments in, a JSON answer out.

What can be decided when a route is added is decided here: which extractors run, whether there is a
body, which status an answer has. A request then runs straight through. What the handler returns is
encoded whole before the first byte is sent, so that an error can still become a problem; a stream
of `Events` is opened first, for the same reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar, cast, get_origin

import msgspec

from paceline.edge import Caller
from paceline.errors import PermissionDenied, Unauthorized
from paceline.http.asgi import (
    PRINCIPAL,
    ASGIApp,
    Receive,
    Scope,
    Send,
    header_text,
    headers_of,
    whole_of,
)
from paceline.http.binding import Handler, ParameterLocation, Signature, extractor_of
from paceline.http.body import body_reader
from paceline.http.conditional import is_not_modified
from paceline.http.events import EVENT_STREAM, Events, send_events
from paceline.http.negotiate import JSON, check_accept, check_content_type
from paceline.trace import span

T = TypeVar("T")

_JSON: Final = (b"content-type", b"application/json")
_NO_HEADERS: Final[Sequence[tuple[bytes, bytes]]] = ()


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer with headers of its own, or with another status than the route's.

    Example: ``return Reply(record, headers=[(b"etag", tag)])``. A ``body`` of None sends no body;
    ``status`` None is the route's.
    """

    body: T
    headers: Sequence[tuple[bytes, bytes]] = ()
    status: int | None = None


def endpoint_of(
    handler: Handler,
    signature: Signature,
    path_names: Sequence[str],
    *,
    status: int,
    scopes: frozenset[str],
    max_body: int,
    conditional: bool = False,
) -> ASGIApp:
    """Compile ``handler`` into an ASGI application.

    ``max_body``: bytes of a request's body. ``conditional``: an answer with an ``ETag`` is compared
    with what ``If-Match`` and ``If-None-Match`` say.
    """
    extractors = [
        extractor_of(p, path_names)
        for p in signature.parameters
        if p.location is not ParameterLocation.BODY
    ]
    body = signature.body
    read = body_reader(body.type, max_body) if body else None
    body_at = signature.parameters.index(body) if body else 0
    encode = msgspec.json.Encoder().encode
    name = getattr(handler, "__qualname__", "handler")
    media_type = EVENT_STREAM if get_origin(signature.returns) is Events else JSON
    # What answers without content has nothing that a client could refuse.
    has_content = signature.returns not in {None, type(None)}

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if scopes:
            _check_scopes(scope, scopes)
        if has_content:
            check_accept(scope, media_type)
        arguments: list[Any] = [extract(scope) for extract in extractors]
        if read is not None:
            check_content_type(scope)
            arguments.insert(body_at, await read(scope, receive))
        with span(name):
            result = await handler(*arguments)
        if isinstance(result, Events):
            await send_events(cast(Events[object], result), scope, receive, send, status=status)
            return
        code, headers = status, _NO_HEADERS
        if isinstance(result, Reply):
            reply = cast(Reply[object], result)
            code, headers, result = reply.status or status, reply.headers, reply.body
            if conditional and _is_not_modified(scope, headers):
                code, result = HTTPStatus.NOT_MODIFIED.value, None
        content = b""
        if result is not None:
            content = encode(result)
            headers = [_JSON, *headers]
            whole = whole_of(send)
            if whole is not None and whole(code, headers, content):
                return
            headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return endpoint


def _is_not_modified(scope: Scope, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    names = headers_of(scope)
    if b"if-none-match" not in names and b"if-match" not in names:
        return False
    if_match, if_none_match = header_text(scope, b"if-match"), header_text(scope, b"if-none-match")
    return is_not_modified(headers, if_match, if_none_match)


def _check_scopes(scope: Scope, needed: frozenset[str]) -> None:
    principal: Caller | None = scope.get(PRINCIPAL)
    if principal is None:
        raise Unauthorized
    missing = needed - principal.scopes
    if missing:
        raise PermissionDenied(f"this needs the scope {' '.join(sorted(missing))}")
