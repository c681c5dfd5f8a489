"""The head of a response, as HPACK: what an app may say, and what the server decides.

Fields that belong to a connection are dropped (RFC 9113 §8.2.2); names and values that could not be
sent are the app's error.
"""

from functools import lru_cache
from typing import Final

from paceline.http.asgi import Headers
from paceline.http.server.exchange import NO_CONTENT
from paceline.http.server.fields import encode_fields, encode_status
from paceline.http.server.problem_body import problem_body
from paceline.http.server.refusals import RequestRejected
from paceline.http.server.response_fields import (
    CONNECTION_FIELDS,
    check_status,
    content_length,
    lower_name,
    trailer_fields,
)

_LENGTH: Final = b"content-length"
_DATE: Final = b"date"


def response_head(status: int, headers: Headers, date_field: bytes) -> tuple[bytes, int | None]:
    """The header block, and the length of the body if it is known.

    Errors: RuntimeError when the app's status or fields are not valid.
    """
    check_status(status)
    length: int | None = None
    parts = [encode_status(status), date_field]
    values: list[bytes] = []
    for name, value in headers:
        lower = lower_name(name)
        if lower in CONNECTION_FIELDS:
            continue
        if lower == _LENGTH:
            length = content_length(value, length)
            if status == NO_CONTENT:
                continue
        elif lower == _DATE:
            parts[1] = b""
        values.append(value)
        parts.append(_encoded(lower, value))
    _check_values(values)
    return b"".join(parts), length


def trailer_block(headers: Headers) -> bytes:
    """Trailers. Errors: RuntimeError, as in `trailer_fields`."""
    return encode_fields(trailer_fields(headers))


def problem_head(reason: RequestRejected, date_field: bytes) -> tuple[bytes, bytes]:
    """Header block and body of a problem response (RFC 9457)."""
    body = problem_body(reason.status, reason.detail)
    fields = [
        (b"content-type", b"application/problem+json"),
        (_LENGTH, b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    return encode_status(reason.status) + date_field + encode_fields(fields), body


def _check_values(values: list[bytes]) -> None:
    joined = b"".join(values)
    if b"\n" in joined or b"\r" in joined or b"\0" in joined:
        raise RuntimeError("invalid header value")


@lru_cache(maxsize=512)
def _encoded(name: bytes, value: bytes) -> bytes:
    return encode_fields([(name, value)])
