"""Access to the admin port: without a token from this machine only, else with the token.

A profile, the log's last lines and a list of tasks are confidential, so an admin port that can be
reached from other machines does not start without a token. On the loopback address without one,
the request's host must be this machine, too: a page in a developer's browser can make its own name
resolve to this address (DNS rebinding) and would read the responses. A request that a page of
another origin caused is refused, unless it is a link that was followed: such a page cannot read the
response, but it could change the log's level or start profiles. Probes stay open, because an
orchestrator has no token.
"""

import hmac
import math
from collections.abc import Awaitable
from ipaddress import ip_address
from typing import Final

from paceline.clock import SystemClock
from paceline.commands.admin.browser import ASSETS
from paceline.edge import FailureLimit
from paceline.errors import Code, Error, PermissionDenied, Unauthorized
from paceline.http import ASGIApp, Middleware, Receive, Scope, Send, headers_of
from paceline.http.middleware import authenticate
from paceline.log import Logger
from paceline.resilience import RateLimiter

POLLED_PATHS: Final = (
    "/",
    "/metrics",
    "/health",
    "/ready",
    "/debug/logs",
    "/debug/state",
    "/debug/tasks",
    *(f"/assets/{name}" for name in ASSETS),
)
"""What monitoring and open pages request again and again: logged at debug level."""
_MAX_FAILURES: Final = 20  # a second, for an address; 40 at once
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class _Operator:
    """The principal of every request with the token."""

    subject = "operator"
    scopes: frozenset[str] = frozenset()
    expires_at = math.inf


class _TokenVerifier:
    """Accepts one token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def verify(self, token: str) -> _Operator:
        """Compare in constant time. Errors: Unauthorized."""
        found = self.recall(token)
        if found is None:
            raise Unauthorized("this is not the admin token")
        return found

    def recall(self, token: str) -> _Operator | None:
        """The same without an error: a comparison costs less than remembering."""
        return _Operator() if hmac.compare_digest(token.encode(), self._token) else None


def restrict_access(token: str | None, log: Logger) -> Middleware:
    """Refuse with 401 what has not the token, or without one with 403 what is not local.

    An address that fails more than twenty times a second gets 429. What a page of another origin
    causes is refused with 403 in any case.
    """
    clock = SystemClock()
    failures = FailureLimit(RateLimiter(clock, rate=_MAX_FAILURES), log, clock)
    caller = _local_only if token is None else authenticate(_TokenVerifier(token), failures)
    return lambda app: _same_origin_only(caller(app))


def require_token(host: str, token: str | None, *, variable: str) -> None:
    """Refuse an address that other machines can reach without a token.

    ``variable`` is the token's setting. Errors: Error(FAILED_PRECONDITION) that says what to do.
    """
    if token is None and not _is_local(host):
        message = (
            f"the admin port on {host} can be reached from other machines: set {variable} to a "
            "long random text, or listen on 127.0.0.1"
        )
        raise Error(Code.FAILED_PRECONDITION, message)


def _local_only(app: ASGIApp) -> ASGIApp:
    def local(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        host = headers_of(scope).get(b"host", b"").decode("latin-1")
        if not _is_local(_without_port(host)):
            raise PermissionDenied("ask for 127.0.0.1 or localhost, or set an admin token")
        return app(scope, receive, send)

    return local


def _same_origin_only(app: ASGIApp) -> ASGIApp:
    def same_origin(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        headers = headers_of(scope)
        if scope["method"] in _SAFE:
            # "none" is an address that was typed. Programs that are no browser send neither.
            from_page = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
            foreign = from_page and headers.get(b"sec-fetch-mode") != b"navigate"
        else:
            origin = headers.get(b"origin")
            foreign = origin is not None and not _is_of_host(origin, headers.get(b"host", b""))
        if foreign:
            raise PermissionDenied("a page of another origin may not use the admin port")
        return app(scope, receive, send)

    return same_origin


def _is_of_host(origin: bytes, host: bytes) -> bool:
    """Whether the origin's host and port are those that were asked for; "null" is nobody's."""
    return origin.lower().partition(b"://")[2] == host.lower() != b""


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
