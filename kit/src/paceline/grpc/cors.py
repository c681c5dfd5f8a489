"""Browsers' calls from other origins (https://fetch.spec.whatwg.org/#http-cors-protocol).

Invariant: an origin that is not listed gets no field of CORS, so its scripts can neither send a
call (each needs a preflight) nor read an answer. Tokens come in ``authorization``, never in
cookies, so credentials are not allowed and ``*`` has its meaning.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from paceline.http import Headers

_ORIGIN: Final = re.compile(
    r"\*|https?://[a-z0-9.\-]+(?::\d{1,5})?|https?://\[[0-9a-f:]+\](?::\d{1,5})?"
)
_NAMES: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z, \t]{0,2000}")
_EXPOSED: Final = b"*, grpc-status, grpc-message, grpc-status-details-bin, grpc-encoding"
_MAX_AGE: Final = b"7200"  # the longest that Chromium keeps


def check_origins(origins: Collection[str]) -> frozenset[str]:
    """The origins. Errors: ValueError for one that no browser sends.

    check_origins(["https://app.example", "http://localhost:3000"])
    """
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise ValueError(
                f'{origin!r} is no origin; write "https://app.example", without a path, or "*"'
            )
    return frozenset(origins)


def read_origins(text: str) -> frozenset[str]:
    """Origins with commas between them. Errors: as `check_origins`.

    read_origins("https://app.example, http://localhost:3000")
    """
    return check_origins([part.strip() for part in text.split(",") if part.strip()])


class Cors:
    """What browsers are told. ``origins``: those that may call, "*" for all."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = {origin.encode() for origin in check_origins(origins)}
        self._any = b"*" in self._origins

    def fields(self, origin: bytes | None) -> Headers:
        """Of any answer to a request from ``origin``."""
        if not self._origins:
            return []
        if self._any:
            return [_ALLOW_ALL, _EXPOSE]
        if origin not in self._origins:
            return [_VARY]
        return [(b"access-control-allow-origin", origin), _EXPOSE, _VARY]

    def preflight(self, fields: Mapping[bytes, bytes]) -> Headers | None:
        """Of the answer to a preflight request; None: its origin may not call."""
        origin = fields.get(b"origin")
        if not self._origins or (not self._any and origin not in self._origins):
            return None
        wanted = fields.get(b"access-control-request-headers", b"")
        headers = self.fields(origin)
        headers += [(b"access-control-allow-methods", b"POST, GET"), _AGE]
        if wanted and _NAMES.fullmatch(wanted) is not None:
            headers.append((b"access-control-allow-headers", wanted))
        return headers


_ALLOW_ALL: Final = (b"access-control-allow-origin", b"*")
_EXPOSE: Final = (b"access-control-expose-headers", _EXPOSED)
_VARY: Final = (b"vary", b"origin")
_AGE: Final = (b"access-control-max-age", _MAX_AGE)
