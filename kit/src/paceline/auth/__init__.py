"""Authentication by bearer token: JWTs are verified, and issued with a shared secret.

`JwtVerifier` turns a token into a `Principal`, with the keys of `HmacSecrets` (HS256) or of a
`JwksSource` (RS256, ES256, EdDSA). Invariant: only this room imports the JWT library, and nothing
here knows HTTP: headers and status codes are the transports'. Verifying and issuing need the extra
``paceline[auth]``; `Principal`, `secret_weakness` and `jwks_fetcher` do not.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.auth.hmac_secrets import HmacSecrets
    from paceline.auth.issue import issue_token
    from paceline.auth.jwks_fetch import Fetch, jwks_fetcher
    from paceline.auth.jwks_source import JwksSource
    from paceline.auth.jwt import JwtVerifier, KeySource
    from paceline.auth.keys import KeySet, VerificationKey
    from paceline.auth.principal import Principal
    from paceline.auth.weakness import secret_weakness
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Fetch": "jwks_fetch",
            "HmacSecrets": "hmac_secrets",
            "JwksSource": "jwks_source",
            "JwtVerifier": "jwt",
            "KeySet": "keys",
            "KeySource": "jwt",
            "Principal": "principal",
            "VerificationKey": "keys",
            "issue_token": "issue",
            "jwks_fetcher": "jwks_fetch",
            "secret_weakness": "weakness",
        },
        extra="auth",
    )

__all__ = [
    "Fetch",
    "HmacSecrets",
    "JwksSource",
    "JwtVerifier",
    "KeySet",
    "KeySource",
    "Principal",
    "VerificationKey",
    "issue_token",
    "jwks_fetcher",
    "secret_weakness",
]
