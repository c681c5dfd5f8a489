"""Whole responses that are rendered once, for each version of HTTP, and sent many times."""

from http import HTTPStatus

from paceline.http.asgi import Headers
from paceline.http.server.fields import encode_fields, encode_status


class PreparedResponse:
    """A response that does not depend on its request; to HEAD it is sent without its body.

    ``http1``: with its body, leaving the connection open. ``http1_closing``: the same, and closing
    it. ``http1_head`` and ``http1_head_closing`` are for HEAD. ``http2``: its header block, to be
    followed by ``body``.
    """

    __slots__ = ("body", "http1", "http1_closing", "http1_head", "http1_head_closing", "http2")

    def __init__(self, status: HTTPStatus, headers: Headers, body: bytes) -> None:
        fields = [*headers, (b"content-length", b"%d" % len(body))]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        start = b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
        self.body: bytes = body
        self.http1_head: bytes = b"%b%b\r\n" % (start, lines)
        self.http1: bytes = self.http1_head + body
        self.http1_head_closing: bytes = b"%b%bconnection: close\r\n\r\n" % (start, lines)
        self.http1_closing: bytes = self.http1_head_closing + body
        self.http2: bytes = encode_status(status) + encode_fields(fields)
