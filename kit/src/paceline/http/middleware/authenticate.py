"""Authentication: a bearer token becomes the request's principal.

A request without a valid token gets 401 with ``WWW-Authenticate`` (RFC 6750), which says no more of
the token than why it is not valid. Routes check their scopes against the principal, and handlers
receive it as ``Provided[Principal]``: identity is an explicit argument, never ambient.
"""

from collections.abc import Awaitable

from paceline.edge import MissingToken, TokenVerifier, bearer_token
from paceline.errors import Code, Unauthorized
from paceline.http.asgi import (
    PRINCIPAL,
    ASGIApp,
    Middleware,
    Receive,
    Scope,
    Send,
    header_list,
    headers_of,
)
from paceline.http.binding import provide
from paceline.http.problem import HttpError


def authenticate(verifier: TokenVerifier) -> Middleware:
    """Refuse requests without a token that ``verifier`` accepts."""

    def wrap(app: ASGIApp) -> ASGIApp:
        def authenticated(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            headers = headers_of(scope)
            authorization = headers.get(b"authorization")
            if len(headers) != len(scope["headers"]) and _is_repeated(scope):
                authorization = b""  # two tokens are none
            try:
                principal = verifier.verify(bearer_token(authorization))
            except Unauthorized as exc:
                raise _challenge(exc) from exc
            scope[PRINCIPAL] = principal
            provide(scope, principal)
            return app(scope, receive, send)

        return authenticated

    return wrap


def _is_repeated(scope: Scope) -> bool:
    return len(header_list(scope, b"authorization")) > 1


def _challenge(exc: Unauthorized) -> HttpError:
    challenge = b"Bearer"
    if not isinstance(exc, MissingToken):
        quoted = exc.message.replace("\\", "").replace('"', "'").encode("ascii", "replace")
        challenge = b'Bearer error="invalid_token", error_description="%s"' % quoted
    return HttpError(
        401, exc.message, code=Code.UNAUTHENTICATED, headers=[(b"www-authenticate", challenge)]
    )
