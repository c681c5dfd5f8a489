"""Whether a shared secret is easy to guess, for the check of the settings.

A secret of 32 bytes may still be a pattern or a phrase; those are refused before a process starts.
It needs no cryptography: a command that only reads the settings does not import the JWT library.
"""

import re
from typing import Final

MIN_BYTES: Final = 32

_LONGEST_PATTERN = 16
_FEWEST_DISTINCT = 8
# What must be left of a secret without its well-known words: 128 bits' worth in hex is 32.
_FEWEST_UNKNOWN = 20
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


def weak_secret(secret: bytes) -> str | None:
    """Why ``secret`` is too easy to guess, to be read after its name; None when nothing is wrong.

    "is shorter than 32 bytes", "is a short pattern, repeated" …: never a part of the secret.
    """
    if len(secret) < MIN_BYTES:
        return f"is shorter than {MIN_BYTES} bytes"
    if any(_repeats(secret, period) for period in range(1, _LONGEST_PATTERN + 1)):
        return "is a short pattern, repeated"
    if len(set(secret)) < _FEWEST_DISTINCT:
        return f"has fewer than {_FEWEST_DISTINCT} different characters"
    if len(_WELL_KNOWN.sub(b"", secret)) < _FEWEST_UNKNOWN and _is_text(secret):
        return "is made of well-known words"
    return None


def _repeats(secret: bytes, period: int) -> bool:
    return secret[period:] == secret[:-period]


def _is_text(secret: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in secret)  # noqa: PLR2004 - printable ASCII
