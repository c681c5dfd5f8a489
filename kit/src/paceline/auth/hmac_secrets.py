"""Shared secrets (HS256): the one in force and, during a rotation, its predecessor.

Invariant: no secret under 32 bytes ever verifies or signs (RFC 7518, 3.2: a key at least as long as
the hash). Rotation: give the new secret as current and the old one as previous, until the last
token signed with the old one has expired.
"""

from joserfc.jwk import OctKey

from paceline.auth.keys import KeySet, VerificationKey
from paceline.auth.weakness import MIN_BYTES


def signing_key(secret: bytes) -> OctKey:
    """The secret as a key.

    Errors: ``ValueError`` when it is shorter than 32 bytes, or is a public key in PEM or DER.
    """
    if len(secret) < MIN_BYTES:
        raise ValueError(f"a token secret must have at least {MIN_BYTES} bytes")
    return OctKey.import_key(secret)


class HmacSecrets:
    """A `KeySource`: the HS256 secret in force and, while it is being rotated, the previous one.

    Errors: ``ValueError`` as for `signing_key`.
    """

    __slots__ = ("keys",)

    keys: KeySet

    def __init__(self, current: bytes, previous: bytes | None = None) -> None:
        self.replace(current, previous)

    def replace(self, current: bytes, previous: bytes | None = None) -> None:
        """Put other secrets in force; tokens signed with any other are refused at once."""
        secrets = (current,) if previous is None else (current, previous)
        self.keys = KeySet(VerificationKey("HS256", signing_key(secret)) for secret in secrets)

    def on_unknown_key(self, algorithm: str) -> None:
        """Nothing: there is no other place to look for a secret."""
