"""Keys that verify signatures, each with the one algorithm it is for.

Invariant (RFC 8725, 3.1): the algorithm belongs to the key, and the token's header may only agree
with it. A public key can therefore never be used as an HMAC secret, and "none" names no key. A
`KeySet` is immutable: whoever holds keys replaces the whole set, and its identity shows whether a
cached token was verified with keys that are still in force.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from joserfc.jwa import JWS_ALGORITHMS, JWSAlgModel
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

ED25519_NAMES: Final = frozenset({"EdDSA", "Ed25519"})
"""Two names of one algorithm: of RFC 8037, which nearly every issuer uses, and of RFC 9864."""
_NAMES: Final = frozenset({
    "HS256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    *ED25519_NAMES,
})  # fmt: skip
ALGORITHMS: Final[Mapping[str, JWSAlgModel]] = MappingProxyType(
    {model.name: model for model in JWS_ALGORITHMS if model.name in _NAMES}
)
"""Those that are supported, by their names in tokens."""


def same_algorithm(one: str, other: str) -> bool:
    """Whether two names mean the same."""
    return one == other or ED25519_NAMES.issuperset((one, other))


class VerificationKey:
    """One key, its algorithm and, where it has one, its id.

    Errors: ``KeyError`` for an algorithm that is not in `ALGORITHMS`.
    """

    __slots__ = ("_key", "_model", "algorithm", "kid")

    def __init__(
        self, algorithm: str, key: OctKey | RSAKey | ECKey | OKPKey, *, kid: str | None = None
    ) -> None:
        self.algorithm: str = algorithm
        self.kid: str | None = kid
        self._key = key
        self._model = ALGORITHMS[algorithm]

    def verify(self, signed: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``signed``."""
        return self._model.verify(signed, signature, self._key)


class KeySet:
    """An immutable set of keys, compared by identity."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[VerificationKey] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        """The number of keys."""
        return len(self._keys)

    def candidates(self, algorithm: str, kid: str | None) -> list[VerificationKey]:
        """The keys that may have signed a token with this header.

        A token without a key id, or a key without one, is matched by algorithm alone.
        """
        return [
            key
            for key in self._keys
            if same_algorithm(key.algorithm, algorithm)
            and (kid is None or key.kid is None or key.kid == kid)
        ]
