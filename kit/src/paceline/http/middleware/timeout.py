"""Timeout: a request ends by the client's deadline or ours, whichever comes first, with 504.

The client says how long it will wait: ``Request-Timeout`` (seconds, "0.5"), ``grpc-timeout``
("500m") or Envoy's ``x-envoy-expected-rq-timeout-ms``; the shortest counts, and none can prolong. A
value that means nothing is refused with 400: whoever sets a limit must not wait without one. The
deadline is ambient (``paceline.concurrency.deadline``), so a checkout or a query started by the
request knows how much is left. Requests without a wish share one timer, for a timer each would be a
good part of what a request costs. A stream (``events``) disables it once it has begun. Inside the
recover middleware, which sends the answer.
"""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from paceline.concurrency import DeadlineScope, SharedDeadline
from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send, headers_of
from paceline.http.events import LIFT
from paceline.http.problem import HttpError

_SECONDS: Final = re.compile(rb"[0-9]{1,8}(\.[0-9]{1,9})?")
_GRPC: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,10}")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def _seconds(value: bytes) -> float:
    return float(value) if _SECONDS.fullmatch(value) else 0.0


def _grpc(value: bytes) -> float:
    found = _GRPC.fullmatch(value)
    return int(found[1]) * _UNITS[found[2]] if found else 0.0


def _milliseconds(value: bytes) -> float:
    return int(value) / 1000 if _MILLISECONDS.fullmatch(value) else 0.0


_Readers = Mapping[bytes, tuple[str, Callable[[bytes], float], str]]
_READERS: Final[_Readers] = {
    b"request-timeout": ("Request-Timeout", _seconds, 'seconds like "0.5"'),
    b"grpc-timeout": ("grpc-timeout", _grpc, 'a time like "500m"'),
    b"x-envoy-expected-rq-timeout-ms": (
        "X-Envoy-Expected-Rq-Timeout-Ms", _milliseconds, "milliseconds",
    ),
}  # fmt: skip


def timeout(seconds: float, *, set_by: str | None = None) -> Middleware:
    """Bound each request. ``set_by``: for errors, "the service (APP_REQUEST_TIMEOUT)"."""
    deadline = SharedDeadline(seconds, "the request", set_by=set_by)

    def wrap(app: ASGIApp) -> ASGIApp:
        async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
            headers = headers_of(scope)
            calm = headers.keys().isdisjoint(_READERS)
            with deadline.scope() if calm else _wished(headers, deadline) as block:
                scope[LIFT] = block.disable
                await app(scope, receive, send)

        return bounded

    return wrap


def _wished(headers: Mapping[bytes, bytes], deadline: SharedDeadline) -> DeadlineScope:
    """A block as the client wishes it. Errors: 400 for a header that says nothing."""
    wishes: list[tuple[float, str]] = []
    for header, (name, read, expected) in _READERS.items():
        if (value := headers.get(header)) is None:
            continue
        wish = read(value)
        if wish <= 0:
            message = f"{name}: expected {expected}, above 0"
            raise HttpError(HTTPStatus.BAD_REQUEST, message)
        wishes.append((wish, name))
    shortest, name = min(wishes)
    return deadline.shorter_scope(shortest, f"the client ({name})")
