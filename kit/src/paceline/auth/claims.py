"""The claims of a token: from its payload to a `Principal` and the time for which it is valid.

Invariant: no claim is trusted to have its type. JSON with duplicate names, NaN or broken Unicode is
refused (RFC 8725, 2.4 and RFC 7519, 4: parsers that disagree about a token are an attack), and
every claim that is used is checked, so a `Principal` holds what its type says. The signature must
have been verified before.
"""

import json
from typing import Final, NoReturn, TypeGuard

import msgspec

from paceline.auth.principal import Principal
from paceline.errors import Unauthorized

MALFORMED: Final = "the token is malformed"

# 9999-12-31: a time beyond it is a mistake, most often milliseconds instead of seconds.
LATEST: Final = 253_402_300_799


class VerifiedClaims(msgspec.Struct, frozen=True):
    """A principal, and when the token is valid: ``start <= now < end``, in Unix seconds."""

    start: float
    end: float
    principal: Principal


class ClaimRules:
    """The issuer and the audience that a token must name, if any; and its times.

    ``leeway``: how far, in seconds, the issuer's clock and ours may differ, either way.
    """

    __slots__ = ("_audience", "_issuer", "_leeway")

    def __init__(self, *, issuer: str | None, audience: str | None, leeway: float) -> None:
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    def check(self, payload: bytes, now: float, *, name_issuer: bool = False) -> VerifiedClaims:
        """Parse the claims and check them at ``now``.

        ``name_issuer``: the principal's subject is "issuer subject". Errors: `Unauthorized`.
        """
        claims = decode_object(payload)
        issuer = _text(claims, "iss")
        if self._issuer is not None and issuer != self._issuer:
            raise Unauthorized("the token's issuer is not accepted")
        if self._audience is not None and self._audience not in _audiences(claims):
            raise Unauthorized("the token is for another audience")
        expires_at = _time(claims, "exp")
        if expires_at is None:
            raise Unauthorized("the token has no expiry")
        subject = _text(claims, "sub")
        if not subject:
            raise Unauthorized("the token has no subject")
        if name_issuer:
            # Without blanks in the issuer no two pairs give one text.
            if not issuer or " " in issuer:
                raise Unauthorized("the token does not say whose it is: it needs an issuer")
            subject = f"{issuer} {subject}"
        token_id = _text(claims, "jti")
        principal = Principal(subject, _scopes(claims), expires_at, issuer, token_id)
        return VerifiedClaims(self._start(claims, now), self._end(expires_at, now), principal)

    def _end(self, expires_at: float, now: float) -> float:
        end = expires_at + self._leeway
        if now >= end:
            raise Unauthorized("the token expired")
        return end

    def _start(self, claims: dict[str, object], now: float) -> float:
        not_before = (_time(claims, "nbf") or 0.0) - self._leeway
        if now < not_before:
            raise Unauthorized("the token is not valid yet")
        issued_at = (_time(claims, "iat") or 0.0) - self._leeway
        if now < issued_at:
            raise Unauthorized("the token was issued in the future")
        return max(not_before, issued_at)


def decode_object(data: bytes) -> dict[str, object]:
    """A JSON object, parsed strictly.

    Errors: `Unauthorized` for anything else.
    """
    try:
        value: object = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as exc:
        raise Unauthorized(MALFORMED) from exc
    if not _is_object(value):
        raise Unauthorized(MALFORMED)
    return value


def _time(claims: dict[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # bool is an int to Python; NaN and the infinities fail the comparison.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LATEST:
        raise Unauthorized(MALFORMED)
    return value


def _text(claims: dict[str, object], name: str) -> str | None:
    """A printable string, since it will be logged and stored."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise Unauthorized(MALFORMED)
    return value


def _audiences(claims: dict[str, object]) -> list[str]:
    value = claims.get("aud", [])
    return _strings([value] if isinstance(value, str) else value)


def _scopes(claims: dict[str, object]) -> frozenset[str]:
    """`scope` as in RFC 8693 and 9068, else the other claims that some issuers use."""
    for name in ("scope", "scp", "scopes"):
        if name in claims:
            value = claims[name]
            scopes = _strings(value.split(" ") if isinstance(value, str) else value)
            return frozenset(filter(None, scopes))
    return frozenset()


def _strings(value: object) -> list[str]:
    if not _is_list(value):
        raise Unauthorized(MALFORMED)
    strings = [item for item in value if isinstance(item, str)]
    if len(strings) != len(value):
        raise Unauthorized(MALFORMED)
    return strings


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_reject_constant)
