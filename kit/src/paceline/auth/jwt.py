"""Bearer tokens (JWT): from a string to a `Principal`, or to a reason that is safe to show.

Follows RFC 8725: the key decides the algorithm, and the header may only agree; no claim is read
before the signature is verified; encodings are canonical, so a token has one spelling. Verified
tokens are cached until they expire. Invariant: a cached result is the one that a fresh verification
would give: each hit checks the time, and that the keys which verified the token are still in force.

The cache's key is the token itself and not its SHA-256: hashing costs 0.75 µs, more than the whole
hit, and the dictionary compares whole strings under a hash that each process keys anew.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from joserfc.util import urlsafe_b64decode

from paceline.auth.claims import MALFORMED, ClaimRules, VerifiedClaims, decode_object
from paceline.auth.keys import ALGORITHMS, KeySet
from paceline.auth.principal import Principal
from paceline.clock import Clock
from paceline.errors import Unauthorized

MAX_LENGTH: Final = 8 * 1024

_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# Header members that change what a token is; "crit" names others that we would have to support.
_REFUSED_MEMBERS = ("crit", "b64", "enc", "zip")
_MAX_HEADERS = 64
_PARTS = 3
_PARTS_ENCRYPTED = 5


class KeySource(Protocol):
    """Where verification keys come from; such as `HmacSecrets`, `JwksSource`."""

    @property
    def keys(self) -> KeySet:
        """The keys in force. A change replaces the whole set, never modifies it."""
        ...

    def on_unknown_key(self, algorithm: str) -> None:
        """A token's key is in no source. Must not block: the token is refused at once."""
        ...


class _CachedToken(msgspec.Struct, frozen=True):
    source: KeySource
    keys: KeySet
    claims: VerifiedClaims


class _Header(msgspec.Struct, frozen=True):
    algorithm: str
    kid: str | None


class JwtVerifier:
    """Verifies JWTs in the JWS compact form with the keys of ``sources``, without any I/O.

    ``issuer`` and ``audience`` are checked when given. ``several_issuers``: the subject of a
    principal is then "issuer subject", as the token says them, since two issuers may name two
    people alike; subjects of tokens with a shared secret (HS256) stay as they are. ``leeway``:
    how many seconds the issuer's clock may differ from ours. ``cache_size``: how many verified
    tokens are cached, each at about its own length in bytes; 0 for none. Not thread-safe: for one
    event loop.

        verifier = JwtVerifier([HmacSecrets(secret)], clock, issuer="https://issuer")
        principal = verifier.verify(token)
    """

    __slots__ = ("_cache_size", "_clock", "_headers", "_rules", "_several", "_sources", "_tokens")

    def __init__(
        self,
        sources: Sequence[KeySource],
        clock: Clock,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        several_issuers: bool = False,
        leeway: float = 30.0,
        cache_size: int = 10_000,
    ) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._rules = ClaimRules(issuer=issuer, audience=audience, leeway=leeway)
        self._several = several_issuers
        self._cache_size = cache_size
        self._headers: dict[bytes, _Header] = {}
        self._tokens: OrderedDict[str, _CachedToken] = OrderedDict()

    def verify(self, token: str) -> Principal:
        """The principal of ``token`` (without "Bearer ").

        Errors: `Unauthorized`; its message suits an ``error_description`` (RFC 6750: printable
        ASCII, no quotes) and never holds a part of the token.
        """
        return self.recall(token) or self._verify(token)

    def recall(self, token: str) -> Principal | None:
        """The principal of a token that has been verified and still would be; else None."""
        cached = self._tokens.get(token)
        if cached is None:
            return None
        claims = cached.claims
        in_force = cached.source.keys is cached.keys
        if in_force and claims.start <= self._clock.time() < claims.end:
            self._tokens.move_to_end(token)
            return claims.principal
        del self._tokens[token]
        return None

    def _verify(self, token: str) -> Principal:
        segment, signed, signature = _split(token)
        header = self._headers.get(segment) or _parse_header(segment)
        source, keys = self._check_signature(header, signed, signature)
        claims = self._rules.check(
            _decode(signed[len(segment) + 1 :]),
            self._clock.time(),
            name_issuer=self._several and header.algorithm != "HS256",
        )
        self._cache_header(segment, header)
        if self._cache_size > 0:
            if len(self._tokens) >= self._cache_size:
                self._tokens.popitem(last=False)
            self._tokens[token] = _CachedToken(source, keys, claims)
        return claims.principal

    def _cache_header(self, segment: bytes, header: _Header) -> None:
        """An issuer's tokens all have the same header. Only that of a verified token is cached."""
        if len(self._headers) >= _MAX_HEADERS:
            self._headers.clear()
        self._headers[segment] = header

    def _check_signature(
        self, header: _Header, signed: bytes, signature: bytes
    ) -> tuple[KeySource, KeySet]:
        known = False
        for source in self._sources:
            keys = source.keys
            for key in keys.candidates(header.algorithm, header.kid):
                known = True
                if key.verify(signed, signature):
                    return source, keys
        if known:
            raise Unauthorized("the token's signature is wrong")
        for source in self._sources:
            source.on_unknown_key(header.algorithm)
        raise Unauthorized("the token's key is not known")


def _split(token: str) -> tuple[bytes, bytes, bytes]:
    """The header, what was signed (header and payload), and the decoded signature."""
    if len(token) > MAX_LENGTH:
        raise Unauthorized("the token is too long")
    if not token.isascii():
        raise Unauthorized(MALFORMED)
    parts = token.encode().split(b".")
    if len(parts) == _PARTS_ENCRYPTED:
        raise Unauthorized("encrypted tokens are not accepted")
    if len(parts) != _PARTS:
        raise Unauthorized(MALFORMED)
    header, payload, signature = parts
    return header, header + b"." + payload, _decode(signature)


def _parse_header(segment: bytes) -> _Header:
    header = decode_object(_decode(segment))
    if any(name in header for name in _REFUSED_MEMBERS):
        raise Unauthorized("the token has a header that is not accepted")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthorized("the token's algorithm is not accepted")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Unauthorized("the token's type is not accepted")
    if "kid" in header and not isinstance(kid, str):
        raise Unauthorized(MALFORMED)
    return _Header(algorithm, kid if isinstance(kid, str) else None)


def _decode(segment: bytes) -> bytes:
    try:
        # Strict: no padding, no other characters, no unused bits set in the last one.
        return urlsafe_b64decode(segment)
    except ValueError as exc:
        raise Unauthorized(MALFORMED) from exc
