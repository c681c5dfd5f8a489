"""What the fields of an app's response must be, whatever the version of HTTP."""

import re
from functools import lru_cache
from typing import Final

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_OK: Final = 200
_LAST: Final = 599


def check_status(status: int) -> None:
    """Errors: RuntimeError for a status that no final response has."""
    if not _OK <= status <= _LAST:
        raise RuntimeError(f"{status} is not a status of a response")


@lru_cache(maxsize=512)
def lower_name(name: bytes) -> bytes:
    """A field's name in lower case. Errors: RuntimeError when it is not valid."""
    if not _TOKEN.fullmatch(name):
        raise RuntimeError(f"invalid header name {name!r}")
    return name.lower()


def content_length(value: bytes, before: int | None) -> int:
    """The body's length; ``before``: the one of an earlier field. Errors: RuntimeError."""
    if before is not None or not value.isdigit():
        raise RuntimeError(f"invalid content-length {value!r}")
    return int(value)
