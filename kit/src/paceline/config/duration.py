"""Durations as Go writes them: "15s", "1m30s", "1.5h", "300ms".

The grammar is ``time.ParseDuration``'s without negative ones, which no setting needs. Invariant:
sums are in whole nanoseconds and bounded as Go's are (about 292 years); only the result is a float,
in seconds, as asyncio takes it. `format_duration` is the inverse, without Go's zeros: "24h", not
"24h0m0s".
"""

import re
from typing import Final

EXPECTED: Final = 'a duration like "15s", "1m30s" or "24h"'

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign
    "\u03bcs": 1_000,  # the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_MAX: Final = 2**63 - 1
_TERM: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|[u\u00b5\u03bc]s|ms|s|m|h)")
# More digits than any value needs, and few enough that arithmetic on them is quick.
_MAX_CHARACTERS: Final = 256


def parse_duration(text: str) -> float:
    """The duration in seconds. Errors: ``ValueError`` that says what was expected."""
    nanoseconds = _parse(text) if len(text) <= _MAX_CHARACTERS else None
    if nanoseconds is None:
        raise ValueError(f"expected {EXPECTED}")
    return nanoseconds / 1_000_000_000


def _parse(text: str) -> int | None:
    rest = text.removeprefix("+")
    if rest == "0":
        return 0
    total = 0
    position = 0
    while position < len(rest):
        term = _TERM.match(rest, position)
        if term is None:
            return None
        whole, fraction, unit = term[1], term[2] or "", _NANOSECONDS[term[3]]
        if not whole and not fraction:
            return None
        # The fraction is computed with floats, as Go does: "0.3333333333333333333h" is 20 minutes.
        total += int(whole or "0") * unit
        total += int(int(fraction or "0") * (unit / 10 ** len(fraction)))
        position = term.end()
    return total if position and total <= _MAX else None


def format_duration(seconds: float) -> str:
    """The duration as `parse_duration` reads it, to the nanosecond.

    Errors: ``ValueError`` for one that is negative or not finite.
    """
    if not 0 <= seconds < float("inf"):
        raise ValueError("a duration must be finite and not negative")
    rest = round(seconds * 1_000_000_000)
    if rest == 0:
        return "0s"
    if rest < _NANOSECONDS["s"]:
        return next(
            _decimal(rest, _NANOSECONDS[unit], unit)
            for unit in ("ms", "us", "ns")
            if rest >= _NANOSECONDS[unit]
        )
    text = ""
    for unit in ("h", "m"):
        count, rest = divmod(rest, _NANOSECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text + (_decimal(rest, _NANOSECONDS["s"], "s") if rest else "")


def _decimal(nanoseconds: int, per_unit: int, unit: str) -> str:
    whole, rest = divmod(nanoseconds, per_unit)
    if not rest:
        return f"{whole}{unit}"
    digits = len(str(per_unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0") + unit
