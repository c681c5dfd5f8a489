"""Redaction: secrets masked, sizes bounded, every value turned into plain data.

Two rules. A field whose *name* looks like a secret's is masked whatever it holds, at any depth. In
a *text*, tokens, and what is secret in URLs (``urls``), are masked wherever they stand. Bytes are
never shown, since they are bodies. Texts are cut, and depth, items and nodes are bounded, so no
value makes a record large. This is a safety net: secrets do not belong in log calls.
"""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Final, TypeGuard
from uuid import UUID

import msgspec

from paceline.errors import chain
from paceline.log.urls import MASK, mask_urls

MAX_TEXT: Final = 4096
# Nothing below this many characters is ever masked: "a://b:c@" has as many.
SHORT: Final = 8
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 64
# A unit is one value, or 64 characters of text: 32 KiB for one field, however it is nested.
_MAX_UNITS: Final = 512
_UNIT: Final = 64

ATOMS: Final = frozenset({int, float, bool, type(None)})

_SECRET_KEY: Final = re.compile(
    r"authorization|cookie|passw|passphrase|pwd|secret|token|credential|apikey|privatekey|signature"
    r"|dsn|databaseurl|connectionstring|^jwt$|^body$|(request|response)body$"
)
# No pattern may scan far and then fail, or a hostile text costs quadratic time: hence the optional
# dots. Each must contain one of the texts that `is_plain` looks for, or it is never tried.
_TOKENS: Final = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*){0,4}"
    r"|(?<=earer )[\w.~+/=-]{12,}"
    r"|(?<=assword=)(?:'[^']*'?|[^\s&;,]+)"
)


def is_secret(key: str) -> bool:
    """Whether the value of a field with this name is masked."""
    return _SECRET_KEY.search(re.sub(r"[^a-z0-9]", "", key.lower())) is not None


def is_plain(text: str) -> bool:
    """Whether there is nothing to cut or to mask: a quick test that nearly every text passes."""
    return (
        len(text) <= MAX_TEXT
        and "://" not in text
        and "eyJ" not in text
        and "earer " not in text
        and "assword=" not in text
    )


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Whether ``value`` has named parts."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether ``value`` is a list."""
    return isinstance(value, list)


def masked(text: str) -> str:
    """The text without tokens and passwords, and no longer than `MAX_TEXT`."""
    if is_plain(text):
        return text
    # Masked before it is cut, lest the cut hide half of what is to be found; but no further than
    # it may ever show, so that a huge text costs no more than a long one.
    window = text[: 2 * MAX_TEXT]
    shown = _TOKENS.sub(MASK, mask_urls(window))
    if len(shown) <= MAX_TEXT and len(window) == len(text):
        return shown
    return f"{shown[:MAX_TEXT]}… ({len(text)} characters)"


def plain(value: object) -> object:
    """``value`` as text, number, list or mapping; masked and bounded. Never raises."""
    try:
        return _Redaction().plain(value, 0)
    except Exception:  # noqa: BLE001 - whatever a foreign container raises, the record is written
        return f"<{type(value).__name__}>"


class _Redaction:
    """One field's value on its way to plain data, within one budget."""

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units = _MAX_UNITS

    def plain(self, value: object, depth: int) -> object:
        self._units -= 1
        if type(value) in ATOMS:
            return value
        full = depth >= _MAX_DEPTH or self._units < 0
        items = _items(value)
        if items is not None:
            return "…" if full else self._mapping(items, depth)
        if _is_collection(value):
            return "…" if full else self._list(value, depth)
        text = masked(str(value)) if isinstance(value, str) else _text(value)
        self._units -= len(text) // _UNIT
        return text

    def _mapping(self, items: Iterable[tuple[object, object]], depth: int) -> dict[str, object]:
        plain: dict[str, object] = {}
        for raw, value in items:
            if len(plain) >= _MAX_ITEMS or self._units < 0:
                plain["…"] = "more"
                break
            key = masked(raw if isinstance(raw, str) else _text(raw))[:256]
            plain[key] = MASK if is_secret(key) else self.plain(value, depth + 1)
        return plain

    def _list(self, items: Iterable[object], depth: int) -> list[object]:
        plain: list[object] = []
        for item in items:
            if len(plain) >= _MAX_ITEMS or self._units < 0:
                plain.append("…")
                break
            plain.append(self.plain(item, depth + 1))
        return plain


def _items(value: object) -> Iterable[tuple[object, object]] | None:
    """The named parts of a mapping, a struct or a dataclass; None for anything else."""
    if is_mapping(value):
        return value.items()
    if isinstance(value, msgspec.Struct):
        return ((name, getattr(value, name)) for name in type(value).__struct_fields__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((part.name, getattr(value, part.name)) for part in dataclasses.fields(value))
    return None


def _is_collection(value: object) -> TypeGuard[Collection[object]]:
    return isinstance(value, list | tuple | AbstractSet)


def _text(value: object) -> str:
    """A value that is neither data nor a container, as a text."""
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    try:
        if isinstance(value, BaseException):
            return masked(chain(value))
        if isinstance(value, Enum):
            return masked(str(value.value))
        return masked(str(value) if _prints_well(value) else repr(value))
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises, the record is written
        return f"<{type(value).__name__}>"


def _prints_well(value: object) -> bool:
    """Whether ``str`` shows the value; a type that holds a secret masks itself there."""
    if isinstance(value, UUID | date | time | timedelta | Decimal | PurePath):
        return True
    return hasattr(value, "get_secret_value")
