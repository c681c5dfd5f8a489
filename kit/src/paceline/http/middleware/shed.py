"""Shed: refuses with 503 what there is no room for, before anything is spent on it.

The outermost, so a refused request costs no id, no log line, no token and no database; the door
counts it, and its `paceline.resilience.load_shedding.LoadShedder` logs an overload once. Invariant:
what was let in is counted out however it ends; a stream when it begins. Every refusal is one
prepared answer with ``Retry-After``. `PreAdmission` gives the same answer to our own server, which
asks before it makes a task of the request: with that, five times the load that can be served leaves
the time to serve it.
"""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from paceline.errors import Overloaded
from paceline.http.asgi import ASGIApp, Headers, Middleware, Receive, Scope, Send
from paceline.http.events import TICKET
from paceline.http.problem import problem_of
from paceline.resilience import Admission, Priority

Classify = Callable[[str, str], Priority]
"""The priority of a request, by its method and path."""

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY: Final = msgspec.json.encode(problem_of(Overloaded(), {}))
_HEADERS: Final[Headers] = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"cache-control", b"no-store"),
    (b"retry-after", b"1"),
]
_HEAD: Final = b"HTTP/1.1 503 Service Unavailable\r\n%b\r\n" % b"".join(
    b"%b: %b\r\n" % field for field in _HEADERS
)
STATUS: Final = 503


def by_method(*, health: Collection[str] = (), background: Collection[str] = ()) -> Classify:
    """Paths in ``health`` are never refused, those in ``background`` first; else by the method."""
    named = dict.fromkeys(background, Priority.BACKGROUND)
    named |= dict.fromkeys(health, Priority.HEALTH)

    def classify(method: str, path: str) -> Priority:
        if path in named:
            return named[path]
        return Priority.READ if method in _READS else Priority.WRITE

    return classify


def shed(door: Admission, classify: Classify) -> Middleware:
    """Let in only what there is room for."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            method: str = scope["method"]
            ticket = door.admit(classify(method, scope["path"]))
            if ticket is None:
                await send({"type": "http.response.start", "status": STATUS, "headers": _HEADERS})
                body = b"" if method == "HEAD" else _BODY
                await send({"type": "http.response.body", "body": body})
                return
            scope[TICKET] = ticket
            try:
                await app(scope, receive, send)
            finally:
                ticket.release()

        return counted

    return wrap


class PreAdmission:
    """The same decision for ``paceline.http.server.server``, before there is a task."""

    def __init__(self, door: Admission, classify: Classify) -> None:
        self._door = door
        self._classify = classify

    def refusal(self, method: str, path: str) -> bytes | None:
        """The whole answer to a request that there is no room for, or None: ask the app."""
        if not self._door.refuse(self._classify(method, path)):
            return None
        return _HEAD if method == "HEAD" else _HEAD + _BODY
