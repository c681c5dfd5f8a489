"""Request deadlines: the client's or the service's, whichever is shorter.

The client states its own with ``Request-Timeout`` (seconds, "0.5"), ``grpc-timeout`` ("500m") or
Envoy's ``x-envoy-expected-rq-timeout-ms``. The shortest counts, and none prolongs. A value that
cannot be read is an error: a client that sets a limit must not wait without one. The deadline is
ambient (``paceline.concurrency``), so a checkout or a query that the request starts knows how much
time is left. Requests without a deadline of their own share one timer, because a timer each would
be a good part of what a request costs.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from paceline.concurrency import DeadlineScope, SharedDeadline
from paceline.errors import Code, Error

_SECONDS: Final = re.compile(rb"[0-9]{1,8}(\.[0-9]{1,9})?")
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,10}")
_MAX_DIGITS: Final = 8
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def _seconds(value: bytes) -> float:
    return float(value) if _SECONDS.fullmatch(value) else 0.0


def _grpc(value: bytes) -> float:
    return grpc_timeout(value) or 0.0


def _milliseconds(value: bytes) -> float:
    return int(value) / 1000 if _MILLISECONDS.fullmatch(value) else 0.0


_Parsers = Mapping[bytes, tuple[str, Callable[[bytes], float], str]]
_PARSERS: Final[_Parsers] = {
    b"request-timeout": ("Request-Timeout", _seconds, 'seconds like "0.5"'),
    b"grpc-timeout": ("grpc-timeout", _grpc, 'a time like "500m"'),
    b"x-envoy-expected-rq-timeout-ms": (
        "X-Envoy-Expected-Rq-Timeout-Ms", _milliseconds, "milliseconds",
    ),
}  # fmt: skip


TIMEOUT_HEADERS: Final = frozenset(_PARSERS)
"""The headers in which a client sets its deadline."""


def grpc_timeout(value: bytes) -> float | None:
    """The seconds in a ``grpc-timeout``, of up to 8 digits and a unit; None: it is malformed."""
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > _MAX_DIGITS:
        return None
    return int(digits) * unit


class RequestDeadline:
    """Bounds each request to ``seconds``, or to what its client allows, if that is shorter.

    ``name``: what is bounded, for errors ("the request"). ``set_by``: what set ``seconds``, for
    errors: "the service (APP_REQUEST_TIMEOUT)".
    """

    __slots__ = ("_shared", "block")

    def __init__(self, seconds: float, name: str, *, set_by: str | None = None) -> None:
        self._shared = SharedDeadline(seconds, name, set_by=set_by)
        self.block: Callable[[], DeadlineScope] = self._shared.scope
        """Makes the block of a request whose client set no deadline."""

    def block_for(self, seconds: float, header: str) -> DeadlineScope:
        """The block of a request whose client set ``seconds`` in ``header``."""
        return self._shared.shorter_scope(seconds, f"the client ({header})")

    def block_from(self, headers: Mapping[bytes, bytes]) -> DeadlineScope:
        """The block of a request with one of `TIMEOUT_HEADERS`. Errors: Error(INVALID_ARGUMENT)."""
        found: list[tuple[float, str]] = []
        for header, (name, parse, expected) in _PARSERS.items():
            if (value := headers.get(header)) is None:
                continue
            seconds = parse(value)
            if seconds <= 0:
                raise Error(Code.INVALID_ARGUMENT, f"{name}: expected {expected}, above 0")
            found.append((seconds, name))
        return self.block_for(*min(found))
