"""A JWKS document (RFC 7517): its keys that may verify tokens, and why others are not used.

Invariant: a key is used only when it is plainly a public key for signatures, strong enough, with
exactly one algorithm: the one it states, or the usual one of its type and curve (RS256, ES256,
ES384, ES512, EdDSA). Whatever is unclear is skipped with a reason and never guessed, and no key,
whatever it holds, spoils another. A private or symmetric key in a published document has leaked,
and is not used.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from paceline.auth.keys import VerificationKey

# A token without a key id is verified with every key of its algorithm: that work must stay small.
MAX_KEYS: Final = 16

_MAX_ENTRIES = 64

_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA_BITS = range(2048, 8192 + 1)
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth")


class _Skip(Exception):
    """Why a key is not used."""


class ParsedKeys(NamedTuple):
    """The usable keys, in the document's order, and why others were skipped."""

    keys: list[VerificationKey]
    skipped: list[str]


class _Jwk(msgspec.Struct):
    """The members that are common to all keys, and those that decide the algorithm."""

    kty: str
    crv: str | None = None
    alg: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    kid: str | None = None


class _Document(msgspec.Struct):
    keys: list[msgspec.Raw]


def parse_jwks(document: bytes) -> ParsedKeys:
    """Parse a document.

    Errors: ``ValueError`` when it is not a JWKS, or when no key in it can be used: that is a fault
    of the issuer, and the keys known before are better than none.
    """
    try:
        raw_keys = msgspec.json.decode(document, type=_Document).keys
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError("the document is not a JWKS") from exc
    parsed = ParsedKeys([], [])
    seen: set[tuple[str | None, str]] = set()
    if len(raw_keys) > _MAX_ENTRIES:
        raise ValueError(f"the JWKS holds more than {_MAX_ENTRIES} keys")
    for number, raw in enumerate(raw_keys):
        try:
            key = _read(raw, seen, full=len(parsed.keys) >= MAX_KEYS)
        except _Skip as reason:
            parsed.skipped.append(f"key {number}: {reason}")
        else:
            parsed.keys.append(key)
    if not parsed.keys:
        reasons = "; ".join(parsed.skipped) or "it is empty"
        raise ValueError(f"the JWKS holds no usable key: {reasons}")
    return parsed


def _read(raw: msgspec.Raw, seen: set[tuple[str | None, str]], *, full: bool) -> VerificationKey:
    try:
        jwk = msgspec.json.decode(raw, type=_Jwk)
        members = msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise _Skip("not a JWK") from exc
    algorithm = _algorithm(jwk, members)
    _check_purpose(jwk)
    ident = (jwk.kid, algorithm)
    if jwk.kid is not None and ident in seen:
        raise _Skip("its kid occurs before; the first key is used")
    if full:
        raise _Skip(f"more than {MAX_KEYS} keys")
    key = VerificationKey(algorithm, _import(jwk.kty, members), kid=jwk.kid)
    seen.add(ident)
    return key


def _algorithm(jwk: _Jwk, members: Mapping[str, object]) -> str:
    """The one algorithm of a key: the one it states, which must be one of its type and curve."""
    possible: tuple[str, ...]
    match jwk.kty, jwk.crv:
        case "RSA", None:
            possible = _RSA_ALGORITHMS
            _check_modulus(members)
        case "EC", curve if curve in _CURVES:
            possible = (_CURVES[curve],)
        case "OKP", "Ed25519":
            possible = ("EdDSA", "Ed25519")
        case "oct", _:
            raise _Skip("a symmetric key must not be in a JWKS: it is public now, replace it")
        case _:
            raise _Skip("its type or curve is not supported")
    if any(name in members for name in _PRIVATE):
        raise _Skip("a private key must not be in a JWKS: it is public now, replace it")
    if jwk.alg is None:
        return possible[0]
    if jwk.alg not in possible:
        usable = ", ".join(possible)
        raise _Skip(f"its algorithm is not supported, only {usable} for keys of its type")
    return jwk.alg


def _check_purpose(jwk: _Jwk) -> None:
    if jwk.use not in {None, "sig"} or (jwk.key_ops is not None and "verify" not in jwk.key_ops):
        raise _Skip('it is not for signatures: its use is not "sig", or its key_ops lack "verify"')


def _check_modulus(members: Mapping[str, object]) -> None:
    modulus = members.get("n")
    if modulus is None and "x5c" in members:
        raise _Skip("it has only a certificate (x5c): n and e are needed")
    try:
        bits = base64_to_int(_unpadded(modulus)).bit_length() if isinstance(modulus, str) else 0
    except ValueError as exc:
        raise _Skip("its modulus is not base64url") from exc
    if bits not in _RSA_BITS:
        raise _Skip(f"an RSA key of {bits} bits: {_RSA_BITS[0]} to {_RSA_BITS[-1]} are accepted")


def _import(kty: str, members: Mapping[str, object]) -> RSAKey | ECKey | OKPKey:
    # Only the members of the key's value: its purpose was checked already.
    value: dict[str, str | list[str]] = {}
    for name in ("kty", "n", "e", "crv", "x", "y"):
        member = members.get(name)
        if isinstance(member, str):
            value[name] = member if name in {"kty", "crv"} else _unpadded(member)
    try:
        match kty:
            case "RSA":
                return RSAKey.import_key(value)
            case "EC":
                return ECKey.import_key(value)
            case _:
                return OKPKey.import_key(value)
    except Exception as exc:  # of whatever kind: one key spoils no other
        raise _Skip("its numbers are not a valid key") from exc


def _unpadded(text: str) -> str:
    """Some issuers pad base64url, which RFC 7515 forbids and which changes nothing."""
    return text.rstrip("=")
