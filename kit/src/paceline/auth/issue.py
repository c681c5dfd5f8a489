"""Issuing tokens, signed with the shared secret: for a ``token`` command and for tests.

Invariant: what is issued here is accepted by `JwtVerifier` with the same secret, and what would not
be (an empty subject, no lifetime) cannot be issued. A service that needs refresh, revocation or
users has an identity provider and its JWKS instead.
"""

import math
from collections.abc import Iterable
from secrets import token_urlsafe

import msgspec
from joserfc import jws

from paceline.auth.claims import LATEST
from paceline.auth.hmac_secrets import signing_key
from paceline.auth.jwt import MAX_LENGTH
from paceline.clock import Clock
from paceline.errors import ValidationError


def issue_token(
    secret: bytes,
    *,
    subject: str,
    scopes: Iterable[str],
    expiry: float,
    clock: Clock,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """A signed token (HS256) for ``subject``, valid from now for ``expiry`` seconds.

    Claims: ``sub``, ``scope``, ``iat``, ``exp``, a random ``jti``, and ``iss`` and ``aud`` when
    given.

        token = issue_token(secret, subject="ada", scopes=["things:read"], expiry=3600, clock=clock)

    Errors: ``ValidationError`` for the subject, scopes or expiry; ``ValueError`` for a secret under
    32 bytes.
    """
    scopes = list(scopes)
    now = int(clock.time())
    _check(subject, scopes, now + expiry, now)
    claims: dict[str, object] = {
        "sub": subject,
        "scope": " ".join(scopes),
        "iat": now,
        "exp": math.ceil(now + expiry),
        "jti": token_urlsafe(16),
    }
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    header = {"typ": "JWT", "alg": "HS256"}
    payload = msgspec.json.encode(claims)
    token = jws.serialize_compact(header, payload, signing_key(secret), algorithms=["HS256"])
    if len(token) > MAX_LENGTH:
        raise ValidationError("scopes", f"the token would exceed {MAX_LENGTH} characters")
    return token


def _check(subject: str, scopes: list[str], expires_at: float, now: float) -> None:
    if not subject or not subject.isprintable():
        raise ValidationError("subject", "must be a name without control characters")
    for scope in scopes:
        if not scope or not scope.isprintable() or " " in scope:
            raise ValidationError("scopes", "a scope must not be empty or hold spaces")
    if not now < expires_at < LATEST:
        raise ValidationError("expiry", "must be above 0 seconds and end before the year 10000")
