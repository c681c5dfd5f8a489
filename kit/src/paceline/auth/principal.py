"""The caller's identity, as proven by a verified token.

A `Principal` is passed to handlers as an explicit argument and is never ambient, so a function that
needs the caller's identity says so in its signature. It is immutable and shared: a token gives the
same object until it expires.
"""

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """Whom a token stands for, and what that one may do: scopes, which form no hierarchy.

    ``subject`` is unique in the service: the token's own, with its issuer before it where there are
    several (`JwtVerifier`).

    ``expires_at`` is the token's own expiry, in seconds since the Unix epoch.
    """

    subject: str
    scopes: frozenset[str]
    expires_at: float
    issuer: str | None = None
    token_id: str | None = None
