"""Bearer tokens: from a string to a `Principal`, or to a reason that is safe to show.

Follows RFC 8725: the key decides the algorithm, the header may only agree; nothing of the payload
is read before the signature holds; encodings are canonical, so a token has one spelling.
Verified tokens are remembered until they expire, with the invariant that a remembered answer is
the one a fresh verification would give: each hit checks the time, and that the keys which
verified the token are still in force.

The memory's key is the token itself and not its SHA-256: hashing costs 0.75 µs, more than the
whole hit, and the dictionary compares whole strings under a hash keyed anew in each process.
Used by the HTTP and RPC authentication layers; read ``paceline.auth.claims`` next.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from joserfc.util import urlsafe_b64decode

from paceline.auth.claims import MALFORMED, ClaimRules, Grant, decode_object
from paceline.auth.keys import ALGORITHMS, KeySet
from paceline.auth.principal import Principal
from paceline.clock import Clock
from paceline.errors import Unauthorized

MAX_LENGTH: Final = 8 * 1024

_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# Header members that change what a token is; "crit" names others that we would have to know.
_REFUSED_MEMBERS = ("crit", "b64", "enc", "zip")
_MAX_HEADERS = 64
_PARTS = 3
_PARTS_ENCRYPTED = 5


class KeySource(Protocol):
    """Where verification keys come from: `Secrets` or `JwksSource`."""

    @property
    def keys(self) -> KeySet:
        """The keys in force. Replaced whole when they change, never changed in place."""
        ...

    def missed(self, algorithm: str) -> None:
        """A token named a key nobody has. Must not wait: the token is refused right away."""
        ...


class _Remembered(msgspec.Struct, frozen=True):
    source: KeySource
    keys: KeySet
    grant: Grant


class _Header(msgspec.Struct, frozen=True):
    algorithm: str
    kid: str | None


class Verifier:
    """Verifies JWTs in the JWS compact form with the keys of ``sources``, without any I/O.

    ``issuer`` and ``audience`` are checked when given; ``leeway`` (seconds) is how far the
    issuer's clock may differ from ours; ``remember`` is how many verified tokens are kept, each
    at about its own length, 0 for none. Not thread-safe: for one event loop.
    """

    __slots__ = ("_clock", "_headers", "_limit", "_remembered", "_rules", "_sources")

    def __init__(
        self,
        sources: Sequence[KeySource],
        clock: Clock,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 30.0,
        remember: int = 10_000,
    ) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._rules = ClaimRules(issuer=issuer, audience=audience, leeway=leeway)
        self._limit = remember
        self._headers: dict[bytes, _Header] = {}
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()

    def verify(self, token: str) -> Principal:
        """The principal of ``token`` (without "Bearer ").

        Errors: `Unauthorized`; its message suits an ``error_description`` (RFC 6750: printable
        ASCII, no quotes) and never holds a part of the token.
        """
        remembered = self._remembered.get(token)
        if remembered is not None:
            grant = remembered.grant
            in_force = remembered.source.keys is remembered.keys
            if in_force and grant.start <= self._clock.time() < grant.end:
                self._remembered.move_to_end(token)
                return grant.principal
            del self._remembered[token]
        return self._verify(token)

    def _verify(self, token: str) -> Principal:
        segment, signed, signature = _split(token)
        header = self._headers.get(segment) or _read_header(segment)
        source, keys = self._check_signature(header, signed, signature)
        grant = self._rules.grant(_decode(signed[len(segment) + 1 :]), self._clock.time())
        self._remember_header(segment, header)
        if self._limit > 0:
            if len(self._remembered) >= self._limit:
                self._remembered.popitem(last=False)
            self._remembered[token] = _Remembered(source, keys, grant)
        return grant.principal

    def _remember_header(self, segment: bytes, header: _Header) -> None:
        """An issuer writes the same header into all its tokens. Only signed ones come here."""
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
            source.missed(header.algorithm)
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


def _read_header(segment: bytes) -> _Header:
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
        # Strict: no padding, no foreign characters, no stray bits in the last one.
        return urlsafe_b64decode(segment)
    except ValueError as exc:
        raise Unauthorized(MALFORMED) from exc
