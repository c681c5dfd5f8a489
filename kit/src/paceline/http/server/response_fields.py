"""What the fields of an app's response must be, whatever the version of HTTP."""

import re
from functools import lru_cache
from typing import Final

from paceline.http.asgi import Headers

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_BREAK: Final = re.compile(rb"[\0\r\n]")
CONNECTION_FIELDS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Fields of one connection, which an app does not decide about."""
_NO_TRAILERS: Final = frozenset({b"content-length", b"host", b"te", b"trailer"})
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


def trailer_fields(headers: Headers) -> Headers:
    """Trailers as they are sent: names in lower case, without fields of the connection.

    Errors: RuntimeError for names and values that are not valid, and for fields that say how a
    message is framed or routed (RFC 9110 §6.5.1).
    """
    fields: Headers = []
    for name, value in headers:
        lower = lower_name(name)
        if lower in _NO_TRAILERS:
            raise RuntimeError(f"{lower!r} cannot be a trailer")
        if _BREAK.search(value):
            raise RuntimeError("invalid header value")
        if lower not in CONNECTION_FIELDS:
            fields.append((lower, value))
    return fields


def content_length(value: bytes, before: int | None) -> int:
    """The body's length; ``before``: the one of an earlier field. Errors: RuntimeError."""
    if before is not None or not value.isdigit():
        raise RuntimeError(f"invalid content-length {value!r}")
    return int(value)
