"""The ASGI vocabulary of this room: types, and one dictionary of headers a request.

ASGI hands headers over as a list of byte pairs. Several parts of a request look some up, so the
list is turned into a dictionary once and kept in the scope; where a header came twice, the last
one counts, except for those in which a second one means an attack or a list: they use
`header_list`. Everything in ``paceline.http`` and any middleware stands on these types.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Middleware: TypeAlias = Callable[[ASGIApp], ASGIApp]
Headers: TypeAlias = list[tuple[bytes, bytes]]

_HEADERS = "paceline.headers"
_ROUTE = "paceline.route"
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


class _Route(NamedTuple):
    pattern: str
    scopes: frozenset[str]


def at_route(pattern: str, scopes: frozenset[str], app: ASGIApp) -> ASGIApp:
    """Let ``app`` be known, from when it is called, as what ``pattern`` leads to."""
    route = _Route(pattern, scopes)

    def routed(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope[_ROUTE] = route
        return app(scope, receive, send)

    return routed


def route_of(scope: Scope) -> str | None:
    """The pattern that the request met ("/records/{id}"), for names and labels; None: no route."""
    route: _Route | None = scope.get(_ROUTE)
    return None if route is None else route.pattern


def needed_scopes(scope: Scope) -> frozenset[str]:
    """What the caller must be allowed for the route that the request met; nothing for none."""
    route: _Route | None = scope.get(_ROUTE)
    return frozenset() if route is None else route.scopes


def known_method(method: str) -> str:
    """The method, for names and labels; "_OTHER" for one that nobody knows, as in OpenTelemetry."""
    return method if method in _METHODS else "_OTHER"


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers by lower-case name."""
    headers: dict[bytes, bytes] | None = scope.get(_HEADERS)
    if headers is None:
        headers = scope[_HEADERS] = dict(scope["headers"])
    return headers


def header_list(scope: Scope, name: bytes) -> list[bytes]:
    """Every value of a header, in the order received."""
    return [value for key, value in scope["headers"] if key == name]
