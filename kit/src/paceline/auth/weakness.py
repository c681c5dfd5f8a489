"""Which token secrets are too easy to guess.

Used at start-up, when a configuration is checked; it goes further than the minimum length that
verifying enforces (``hmac_secrets``): it also refuses what is long and easy to guess. A reason
never quotes a part of the secret. Needs no library for tokens, so that a configuration can be
checked without one.
"""

import re
from typing import Final

MIN_BYTES: Final = 32
"""RFC 7518, 3.2: an HS256 key is at least as long as the hash."""

_MAX_PATTERN = 16
_MIN_DISTINCT = 8
# What must be left of a secret without its well-known words: 128 bits' worth in hex is 32.
_MIN_UNKNOWN = 20
_WELL_KNOWN = re.compile(
    rb"change[-_ ]?(me|this|it)|pass(word|phrase)?|secret|default|example|insecure|unsafe|please"
    rb"|placeholder|dummy|sample|testing|test|dev(elopment)?|local(host)?|prod(uction)?|staging"
    rb"|jwt|hmac|hs256|token|auth|sign(ing|ature)?|private|super|your|key|my|app|api|admin|root"
    rb"|service|in|for|the|this|that|is|and|long|very|enough|at|least|must|be|bit|byte|char(acter)?s?"
    rb"|only|not|use|do|to|of|256|128|512|32|qwerty(uiop)?|letmein"
    rb"|0123456789|1234567890|12345678|abcdefghijklmnopqrstuvwxyz|abcdef(gh)?"
    rb"|[^a-z0-9]",
    re.IGNORECASE,
)


def secret_weakness(secret: bytes) -> str | None:
    """Why ``secret`` is too easy to guess, to be read after its name; None if it is not.

    "is shorter than 32 bytes", "is a short pattern, repeated" …: never a part of the secret.
    """
    if len(secret) < MIN_BYTES:
        return f"is shorter than {MIN_BYTES} bytes"
    if any(_repeats(secret, period) for period in range(1, _MAX_PATTERN + 1)):
        return "is a short pattern, repeated"
    if len(set(secret)) < _MIN_DISTINCT:
        return f"has fewer than {_MIN_DISTINCT} different characters"
    if len(_WELL_KNOWN.sub(b"", secret)) < _MIN_UNKNOWN and _is_text(secret):
        return "is made of well-known words"
    return None


def _repeats(secret: bytes, period: int) -> bool:
    return secret[period:] == secret[:-period]


def _is_text(secret: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in secret)  # noqa: PLR2004 - printable ASCII
