"""Authentication by bearer token: verify, and say who is calling.

`Verifier` turns a token into a `Principal` with the keys of `Secrets` (HS256) or `JwksSource`
(RS256, ES256, EdDSA). Invariant: only this room knows the JWT library, and nothing here knows
HTTP: headers and status codes belong to ``paceline.http``. The composition root builds a
`Verifier`; the authentication middleware calls it. Read ``paceline.auth.jwt`` first, then
``keys``, ``claims`` and ``jwks``.
"""

from typing import TYPE_CHECKING

from paceline._lazy import lazy_exports

if TYPE_CHECKING:
    from paceline.auth.fetch import fetch_from
    from paceline.auth.issue import issue_token
    from paceline.auth.jwks import JwksSource
    from paceline.auth.jwt import KeySource, Verifier
    from paceline.auth.principal import Principal
    from paceline.auth.secret import Secrets
    from paceline.auth.secret_strength import weak_secret
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "JwksSource": "jwks",
            "KeySource": "jwt",
            "Principal": "principal",
            "Secrets": "secret",
            "Verifier": "jwt",
            "fetch_from": "fetch",
            "issue_token": "issue",
            "weak_secret": "secret_strength",
        },
    )

__all__ = [
    "JwksSource",
    "KeySource",
    "Principal",
    "Secrets",
    "Verifier",
    "fetch_from",
    "issue_token",
    "weak_secret",
]
