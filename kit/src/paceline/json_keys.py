"""JSON whose objects have each key once.

A decoder silently keeps the last of two equal keys, and another parser the first. Two parsers that
read one document differently can be exploited, and RFC 8259 (section 4) calls such objects
unpredictable; so every door refuses them, in the same words.
"""

import json
from typing import Final

_BACKSLASH: Final = 0x5C
_COLON: Final = 0x3A
_SHOWN: Final = 64


class RepeatedKeyError(ValueError):
    """An object has a key twice; its text says which."""


def check_distinct_keys(raw: bytes) -> None:
    """Refuse well-formed JSON that has a key twice in one object, at any depth.

    Without escapes, quotes enclose strings and nothing else: cut there, every second piece is a
    string, and it is a key if the piece after it has a colon. If all keys of
    the document differ there is nothing to refuse; with escapes, or with one key in two places, the
    document is parsed again, object by object.

    Errors: RepeatedKeyError, RecursionError.
    """
    if _BACKSLASH not in raw:
        pieces = raw.split(b'"')
        keys = [key for key, gap in zip(pieces[1::2], pieces[2::2], strict=True) if _COLON in gap]
        if len(keys) == len(set(keys)):
            return
    json.loads(raw, object_pairs_hook=_distinct, parse_int=str, parse_float=str)


def _distinct(pairs: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise RepeatedKeyError(f"the key {key[:_SHOWN]!r} is given twice")
        seen.add(key)
