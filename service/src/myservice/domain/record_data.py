"""The rules for a record's ``data``, any JSON value, that no schema can say.

It is kept as its text and never parsed on the way out, so what is accepted here must be readable by
everybody.
"""

from typing import Any, Final, cast

import msgspec

from paceline.errors import ValidationError

MAX_DATA_BYTES: Final = 64 * 1024
MAX_DATA_DEPTH: Final = 32


def check_data(data: msgspec.Raw) -> None:
    """Errors: ValidationError for what is too large, too deep, or out of range."""
    text = bytes(data)
    if len(text) > MAX_DATA_BYTES:
        raise ValidationError("data", f"must be at most {MAX_DATA_BYTES} bytes of JSON")
    try:
        value: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValidationError("data", "has a number or a nesting that is out of range") from exc
    if text.count(b"[") + text.count(b"{") > MAX_DATA_DEPTH and _depth(value) > MAX_DATA_DEPTH:
        raise ValidationError("data", f"must be nested at most {MAX_DATA_DEPTH} levels deep")


def _depth(value: object) -> int:
    match value:
        case dict():
            children = list(cast(dict[str, object], value).values())
        case list():
            children = list(cast(list[object], value))
        case _:
            return 0
    return 1 + max(map(_depth, children), default=0)
