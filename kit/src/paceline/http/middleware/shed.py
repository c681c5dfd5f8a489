"""Load shedding: a request beyond what can be served in time gets 503, before anything is spent.

The outermost middleware, so that a refused request costs no id, no log line, no token and no
database; its `Admission` counts it, and the load shedder logs an overload once. Invariant: an
admitted request gives its permit back however it ends; a stream does when it begins. Every refusal
is one prepared answer with ``Retry-After``. `PreAdmission` gives the same answer from the server,
before there is a task for the request: with that, five times the load that can be served leaves the
time to serve it.
"""

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Final

import msgspec

from paceline.edge import priorities_of
from paceline.errors import Overloaded
from paceline.http.asgi import PERMIT, ASGIApp, Headers, Middleware, Receive, Scope, Send
from paceline.http.problem import problem_of
from paceline.http.server import PreparedResponse
from paceline.resilience import Admission, Priority

Classify = Callable[[str, str], Priority]
"""The priority of a request, by its method and path."""

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_STATUS: Final = 503
_BODY: Final = msgspec.json.encode(problem_of(Overloaded(), {}))
_HEADERS: Final[Headers] = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"cache-control", b"no-store"),
    (b"retry-after", b"1"),
]
_REJECTION: Final = PreparedResponse(
    HTTPStatus.SERVICE_UNAVAILABLE,
    [field for field in _HEADERS if field[0] != b"content-length"],
    _BODY,
)


def classify_by_method(
    *, health: Collection[str] = (), background: Collection[str] = ()
) -> Classify:
    """Reads before writes are refused; paths in ``background`` first, in ``health`` never."""
    named = priorities_of(health, background)

    def classify(method: str, path: str) -> Priority:
        if path in named:
            return named[path]
        return Priority.READ if method in _READS else Priority.WRITE

    return classify


def shed(admission: Admission, classify: Classify) -> Middleware:
    """Answer 503 to each request that ``admission`` has no room for."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def admitted(scope: Scope, receive: Receive, send: Send) -> None:
            method: str = scope["method"]
            permit = admission.admit(classify(method, scope["path"]))
            if permit is None:
                await send({"type": "http.response.start", "status": _STATUS, "headers": _HEADERS})
                body = b"" if method == "HEAD" else _BODY
                await send({"type": "http.response.body", "body": body})
                return
            scope[PERMIT] = permit
            try:
                await app(scope, receive, send)
            finally:
                permit.release()

        return admitted

    return wrap


class PreAdmission:
    """The same decision for `HttpServer`, as its ``admission_check``."""

    def __init__(self, admission: Admission, classify: Classify) -> None:
        self._admission = admission
        self._classify = classify

    def rejection(self, method: str, path: str) -> PreparedResponse | None:
        """The 503 when there is no room; None: call the app."""
        return _REJECTION if self._admission.refuse(self._classify(method, path)) else None
