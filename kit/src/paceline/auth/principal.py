"""The caller's identity, as proven by a verified token.

A `Principal` is passed to handlers as an explicit argument and is never ambient, so a function that
needs the caller's identity says so in its signature. It is immutable and shared: a token gives the
same object until it expires.
"""

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """The subject of a token and what it may do: scopes, which form no hierarchy.

    ``expires_at`` is the token's own expiry, in seconds since the Unix epoch.
    """

    subject: str
    scopes: frozenset[str]
    expires_at: float
    issuer: str | None = None
    token_id: str | None = None
