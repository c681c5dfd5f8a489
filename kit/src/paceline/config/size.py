"""Sizes in bytes: "1MiB", "512KiB", "10MB", "1048576".

Invariant: a whole number of bytes, never negative. Units are the IEC's powers of 1024 and the SI's
powers of 1000, in their own spelling: "1mb", which could mean four sizes, is refused.
"""

import re
from typing import Final

EXPECTED: Final = 'a size in bytes like "1048576", "512KiB" or "1MiB"'

_BYTES: Final = {
    "": 1,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?([A-Za-z]*)")


def parse_size(text: str) -> int:
    """The size in bytes. Errors: ``ValueError`` that says what was expected."""
    found = _SIZE.fullmatch(text)
    if found is None or found[2] not in _BYTES:
        raise ValueError(f"expected {EXPECTED}")
    return int(found[1]) * _BYTES[found[2]]


def format_size(size: int) -> str:
    """The size as `parse_size` reads it, exactly, in the largest binary unit that is whole."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)
