"""The head of a request: what the parser accepts and a server must still refuse.

llhttp is strict: bare LF, folded lines, control characters, repeated or signed lengths and a length
beside chunks never reach this file. What is left: transfer codings that nothing here decodes, two
Host headers, and versions other than 1.0 and 1.1. What two parsers of one message could read
differently is an attack (request smuggling), so it is refused rather than repaired.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from paceline.http.asgi import Headers
from paceline.http.problem import title_of
from paceline.http.server.problem_body import problem_body
from paceline.http.server.refusals import RequestRejected

_SINGLE: Final = (b"host", b"transfer-encoding")


def check_head(version: str, headers: Headers, index: Mapping[bytes, bytes]) -> None:
    """Refuse a head that can be read in two ways; ``index`` holds ``headers`` by name.

    Errors: RequestRejected.
    """
    if version == "1.1":
        if b"host" not in index:
            raise RequestRejected(HTTPStatus.BAD_REQUEST, "HTTP/1.1 requires a Host header")
    elif version != "1.0":
        raise RequestRejected(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server supports HTTP/1.1"
        )
    if len(index) != len(headers):
        names = [name for name, _ in headers]
        for name in _SINGLE:
            if names.count(name) > 1:
                text = f"the header {name.decode()} was given more than once"
                raise RequestRejected(HTTPStatus.BAD_REQUEST, text)
    coding = index.get(b"transfer-encoding")
    if coding is None:
        return
    if version == "1.0":
        raise RequestRejected(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no transfer codings")
    if coding.lower() != b"chunked":
        raise RequestRejected(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding is chunked")


def accepts_trailers(te: bytes) -> bool:
    """Whether the field ``TE`` says that the client takes trailers (RFC 9110 §10.1.4)."""
    return b"trailers" in [part.strip() for part in te.lower().split(b",")]


def problem_response(reason: RequestRejected, date_line: bytes) -> bytes:
    """A whole problem response (RFC 9457) that closes the connection, for before the app."""
    title = title_of(reason.status)
    body = problem_body(reason.status, reason.detail)
    lines = (
        b"HTTP/1.1 %d %b\r\n" % (reason.status, title.encode()),
        date_line,
        b"content-type: application/problem+json\r\n",
        b"content-length: %d\r\n" % len(body),
        b"cache-control: no-store\r\nconnection: close\r\n\r\n",
        body,
    )
    return b"".join(lines)
