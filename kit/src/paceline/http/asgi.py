"""ASGI's types, the keys that this room adds to a scope, and one dictionary of headers a request.

ASGI passes headers as a list of byte pairs. Several parts of a request look some up, so the list
becomes a dictionary once, which is kept in the scope. Where a header came twice, the last one
counts, except for headers of which a second one is an attack or continues a list: those are read
with `header_list`.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
SendWhole: TypeAlias = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], bool]
"""Sends status, fields and body at once, the body's length added; False: nothing was sent.

Where the server can do that, ``send`` has it as its attribute ``whole``, which spares a response
two messages. A ``send`` that foreign middleware has wrapped does not, and is sent the messages.
"""
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Middleware: TypeAlias = Callable[[ASGIApp], ASGIApp]
Headers: TypeAlias = list[tuple[bytes, bytes]]

REQUEST_ID: Final = "paceline.request_id"
PRINCIPAL: Final = "paceline.principal"
"""The verified caller (`paceline.edge.Caller`), against which routes check their scopes."""
VERIFIER: Final = "paceline.verifier"
"""What has verified the caller's token, for a stream that has to look at it again."""
PERMIT: Final = "paceline.permit"
"""The request's `paceline.resilience.Permit`, which a stream gives back when it begins."""
LIFT_DEADLINE: Final = "paceline.lift_deadline"
"""A function that ends the request's deadline early, for a stream that has begun."""
FAILURE: Final = "paceline.failure"
"""Where it is, what the request raised is put there, to be shown with the request's line."""
UNLOGGED: Final = "paceline.unlogged"
"""Set where a refusal is counted elsewhere, and has no line of its own in the access log."""
STREAMING: Final = "paceline.streaming"
"""In the start of a response that may last: the server then bounds silence, not duration.

As the type of a message of its own, before that: the request may last, too."""
_HEADERS: Final = "paceline.headers"
_ROUTE: Final = "paceline.route"
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


class _Route(NamedTuple):
    pattern: str
    scopes: frozenset[str]


def at_route(pattern: str, scopes: frozenset[str], app: ASGIApp) -> ASGIApp:
    """``app``, whose requests have matched ``pattern``; see `route_of` and `needed_scopes`."""
    route = _Route(pattern, scopes)

    def routed(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope[_ROUTE] = route
        return app(scope, receive, send)

    return routed


def whole_of(send: Send) -> SendWhole | None:
    """The way to send a whole response at once, if ``send`` has one."""
    whole: SendWhole | None = getattr(send, "whole", None)
    return whole


def route_of(scope: Scope) -> str | None:
    """The pattern that the request matched ("/records/{id}"), for names and labels; None: none."""
    route: _Route | None = scope.get(_ROUTE)
    return None if route is None else route.pattern


def needed_scopes(scope: Scope) -> frozenset[str]:
    """The scopes that the matched route needs; empty when no route matched."""
    route: _Route | None = scope.get(_ROUTE)
    return frozenset() if route is None else route.scopes


def known_method(method: str) -> str:
    """The method, for names and labels; "_OTHER" for an unknown one, as in OpenTelemetry."""
    return method if method in _METHODS else "_OTHER"


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The request's headers by lower-case name."""
    headers: Mapping[bytes, bytes] | None = scope.get(_HEADERS)
    if headers is None:
        headers = scope[_HEADERS] = dict(scope["headers"])
    return headers


def keep_index(scope: Scope, index: Mapping[bytes, bytes]) -> None:
    """Give `headers_of` the dictionary of the request's headers, which is known."""
    scope[_HEADERS] = index


def header_list(scope: Scope, name: bytes) -> list[bytes]:
    """Every value of a header, in the order received."""
    return [value for key, value in scope["headers"] if key == name]


def header_text(scope: Scope, name: bytes) -> str | None:
    """A header that is a list and may have come in several fields; None without one."""
    values = header_list(scope, name)
    return b",".join(values).decode("latin-1") if values else None
