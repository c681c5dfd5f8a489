"""The body of a problem response (RFC 9457) that the server sends itself."""

from http import HTTPStatus

import msgspec

from paceline.http.problem import title_of


def problem_body(status: HTTPStatus, detail: str) -> bytes:
    """The problem as JSON; its media type is application/problem+json."""
    return msgspec.json.encode(
        {"type": "about:blank", "title": title_of(status), "status": status.value, "detail": detail}
    )
