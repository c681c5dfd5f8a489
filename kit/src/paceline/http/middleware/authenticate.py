"""AuthMiddleware: a bearer token in, a principal handed to the handler.

Refused requests get 401 with ``WWW-Authenticate`` (RFC 6750), and never learn more about the token
than why it is not good. The principal is put where routes check scopes and where handlers ask for
``Provided[Principal]``; identity is never ambient. What verifies tokens is the caller's:
``paceline.auth`` has one.
"""

from collections.abc import Awaitable
from typing import Protocol

from paceline.errors import Code, Unauthorized
from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send, header_list, headers_of
from paceline.http.binding import provide
from paceline.http.endpoint import PRINCIPAL, Caller
from paceline.http.problem import HttpError


class TokenVerifier(Protocol):
    """What knows which tokens are good."""

    def verify(self, token: str) -> Caller:
        """Who the token speaks for. Errors: Unauthorized."""
        ...


def authenticate(verifier: TokenVerifier) -> Middleware:
    """Let only requests with a good bearer token through."""

    def wrap(app: ASGIApp) -> ASGIApp:
        def authenticated(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            try:
                principal = verifier.verify(_bearer_token(scope))
            except Unauthorized as exc:
                raise _challenge(exc.message) from exc
            scope[PRINCIPAL] = principal
            provide(scope, principal)
            return app(scope, receive, send)

        return authenticated

    return wrap


def _bearer_token(scope: Scope) -> str:
    headers = headers_of(scope)
    value = headers.get(b"authorization", b"")
    if value[:7] == b"Bearer " and len(headers) == len(scope["headers"]) and value.isascii():
        return value[7:].decode("ascii")  # the usual case; no header came twice
    values = header_list(scope, b"authorization")
    if not values:
        raise HttpError(
            401,
            "this needs a bearer token: send Authorization: Bearer <token>",
            code=Code.UNAUTHENTICATED,
            headers=[(b"www-authenticate", b"Bearer")],
        )
    scheme, _, token = values[0].partition(b" ")
    if len(values) > 1 or scheme.lower() != b"bearer" or not token.isascii():
        raise Unauthorized("one Authorization header of the form: Bearer <token>")
    return token.strip().decode("ascii")


def _challenge(reason: str) -> HttpError:
    quoted = reason.replace("\\", "").replace('"', "'").encode("ascii", "replace")
    challenge = b'Bearer error="invalid_token", error_description="%s"' % quoted
    return HttpError(
        401, reason, code=Code.UNAUTHENTICATED, headers=[(b"www-authenticate", challenge)]
    )
