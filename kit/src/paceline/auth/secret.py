"""Shared secrets (HS256): the one in force, and while it is rotated the one before.

Invariant: no secret under 32 bytes ever verifies or signs (RFC 7518, 3.2: a key at least as long
as the hash). Rotation: give the new secret as current and the old one as previous until its last
token has expired.
"""

from joserfc.jwk import OctKey

from paceline.auth.keys import KeySet, VerificationKey
from paceline.auth.secret_strength import MIN_BYTES


def signing_key(secret: bytes) -> OctKey:
    """The secret as a key.

    Errors: ``ValueError`` when it is shorter than 32 bytes, or is a public key in PEM or DER.
    """
    if len(secret) < MIN_BYTES:
        raise ValueError(f"a token secret must have at least {MIN_BYTES} bytes")
    return OctKey.import_key(secret)


class Secrets:
    """The HS256 secret in force and, while it is being rotated, the one before.

    Errors: ``ValueError`` as for `signing_key`.
    """

    __slots__ = ("keys",)

    keys: KeySet

    def __init__(self, current: bytes, previous: bytes | None = None) -> None:
        self.replace(current, previous)

    def replace(self, current: bytes, previous: bytes | None = None) -> None:
        """Put other secrets in force; tokens of a secret that is gone are refused at once."""
        secrets = (current,) if previous is None else (current, previous)
        self.keys = KeySet(VerificationKey("HS256", signing_key(secret)) for secret in secrets)

    def missed(self, algorithm: str) -> None:
        """Secrets come from nowhere else: there is nothing to look up."""
