"""Authentication: a bearer token becomes the request's principal.

A request without a valid token gets 401 with ``WWW-Authenticate`` (RFC 6750), which says no more of
the token than why it is not valid. Routes check their scopes against the principal, and handlers
receive it as ``Provided[Principal]``: identity is an explicit argument, never ambient.
"""

from collections.abc import Awaitable

from paceline.edge import (
    Caller,
    FailureLimit,
    MissingToken,
    TokenVerifier,
    TooManyFailures,
    identify,
    recall,
)
from paceline.errors import Code, Unauthorized
from paceline.http.asgi import (
    PRINCIPAL,
    UNLOGGED,
    VERIFIER,
    ASGIApp,
    Middleware,
    Receive,
    Scope,
    Send,
    header_list,
    headers_of,
)
from paceline.http.binding import provide
from paceline.http.middleware.rate_limit import too_many_requests
from paceline.http.problem import HttpError


def authenticate(verifier: TokenVerifier, failures: FailureLimit | None = None) -> Middleware:
    """Refuse requests without a token that ``verifier`` accepts.

    ``failures``: how many an address may have; beyond it gets 429, with no line in the access log.
    """

    def wrap(app: ASGIApp) -> ASGIApp:
        def authenticated(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            headers = headers_of(scope)
            authorization = headers.get(b"authorization")
            if len(headers) != len(scope["headers"]) and _is_repeated(scope):
                authorization = b""  # two tokens are none
            principal = recall(verifier, authorization) or identified(scope, authorization)
            scope[PRINCIPAL] = principal
            scope[VERIFIER] = verifier
            provide(scope, principal)
            return app(scope, receive, send)

        return authenticated

    def identified(scope: Scope, authorization: bytes | None) -> Caller:
        client: tuple[str, int] | None = scope.get("client")
        try:
            return identify(verifier, authorization, client[0] if client else None, failures)
        except Unauthorized as exc:
            raise _challenge(exc) from exc
        except TooManyFailures as exc:
            scope[UNLOGGED] = True
            raise too_many_requests(exc) from exc

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
