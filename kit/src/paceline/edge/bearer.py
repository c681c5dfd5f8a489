"""Bearer tokens (RFC 6750): from an ``Authorization`` value to a verified caller.

A missing token is told apart from a bad one, because HTTP answers the two with different
challenges. Verification is a protocol: ``paceline.auth`` has one implementation, a service may have
another.
"""

from typing import Protocol

from paceline.errors import Unauthorized


class Caller(Protocol):
    """The identity that a token stands for."""

    @property
    def subject(self) -> str:
        """The caller's name, unique in this service."""
        ...

    @property
    def scopes(self) -> frozenset[str]:
        """What the caller may do."""
        ...

    @property
    def expires_at(self) -> float:
        """When the token expires, in seconds since the Unix epoch."""
        ...


class TokenVerifier(Protocol):
    """Decides which tokens are valid."""

    def verify(self, token: str) -> Caller:
        """The caller that ``token`` stands for. Errors: Unauthorized."""
        ...

    def recall(self, token: str) -> Caller | None:
        """The same, if it is known without looking at the signature again."""
        ...


class MissingToken(Unauthorized):
    """The request has no token."""

    def __init__(self) -> None:
        super().__init__("this needs a bearer token: send Authorization: Bearer <token>")


def bearer_token(authorization: bytes | None) -> str:
    """The token in an ``Authorization`` value. Errors: MissingToken, Unauthorized."""
    if authorization is None:
        raise MissingToken
    if authorization[:7] == b"Bearer ":
        token = authorization[7:]
    else:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise _malformed()
    if not token.isascii():
        raise _malformed()
    return token.decode("ascii")


def _malformed() -> Unauthorized:
    return Unauthorized("one Authorization header of the form: Bearer <token>")
