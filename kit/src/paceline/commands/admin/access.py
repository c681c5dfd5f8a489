"""Who may ask: anybody on this machine, elsewhere whoever has the token.

A profile, the log's last lines and a list of tasks are not for strangers, so an admin port that can
be reached from other machines does not start without a token. On the loopback address without one,
the request must name this machine too: a page in a developer's browser can make its own name lead
here (DNS rebinding), and would read the answers. Probes stay open: an orchestrator has no token.
Used by ``app`` and, before anything starts, by ``main``.
"""

import hmac
import math
from collections.abc import Awaitable
from ipaddress import ip_address
from typing import Final

from paceline.errors import Code, Error, PermissionDenied, Unauthorized
from paceline.http import ASGIApp, Middleware, Receive, Scope, Send, headers_of
from paceline.http.middleware import authenticate

QUIET: Final = ("/metrics", "/health", "/ready", "/debug/logs", "/debug/state", "/debug/tasks")
"""What machines ask for again and again: logged at debug level."""


class Operator:
    """Whoever has the token."""

    subject = "operator"
    scopes: frozenset[str] = frozenset()
    expires_at = math.inf


class _Token:
    """The one token there is."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def verify(self, token: str) -> Operator:
        """Compare it in a time that tells nothing. Errors: Unauthorized."""
        if not hmac.compare_digest(token.encode(), self._token):
            raise Unauthorized("this is not the admin token")
        return Operator()


def guard(token: str | None) -> Middleware:
    """Let only operators through."""
    return _local_only if token is None else authenticate(_Token(token))


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


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
