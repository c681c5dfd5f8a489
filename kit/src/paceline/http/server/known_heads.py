"""The fields of requests that came before: a client sends the same ones with each request.

A head whose bytes after the request line were parsed and checked before has the same fields, so
only its request line is read, and the digits of its length if there is a body: bodies differ in
length where nothing else does. Invariant: what is kept followed a request line of HTTP/1.1, was
parsed and checked in one piece of data with nothing but its body, whose length it gives if there is
one, and said nothing of the connection or of another protocol; what is found is such a piece, too.
So the parser, which does not see the request, has nothing to remember of it. A target with anything
but plain characters is left to the parser. Bounded: so many heads, none of them long.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from paceline.http.asgi import Headers

_REQUEST_LINE: Final = re.compile(
    rb"(GET|POST|PUT|DELETE) (/[A-Za-z0-9/._~-]*)(?:\?([A-Za-z0-9._~=&-]*))? HTTP/1\.1\r\n"
)
_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,9})\r\n")
_NAME: Final = b"content-length"
_NOT_KEPT: Final = frozenset({
    b"expect", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade",
    # Another one in each request, so that the head would never be found again:
    b"idempotency-key", b"traceparent", b"x-request-id",
})  # fmt: skip
_MAX_BYTES: Final = 1024
_MAX_HEADS: Final = 2048
_Fields: TypeAlias = tuple[Headers, Mapping[bytes, bytes]]


class KnownHead(NamedTuple):
    """A whole request. ``headers`` and ``by_name`` are shared, and must not be changed."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    by_name: Mapping[bytes, bytes]
    body: bytes


class KnownHeads:
    """The fields of heads by their bytes, for one server."""

    __slots__ = ("_before_body", "_whole")

    def __init__(self) -> None:
        self._whole: dict[bytes, _Fields] = {}
        # By what is before and behind the digits of the length, of which a checked head has one.
        self._before_body: dict[tuple[bytes, bytes], tuple[_Fields, int]] = {}

    def find(self, data: bytes) -> KnownHead | None:
        """The request that ``data`` is, whole, if its fields are known."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            return None
        begin = line.end()
        end = data.find(_END, begin - 2) + len(_END)
        if len(data) == end:
            found = self._whole.get(data[begin:])
            if found is None:
                return None
            headers, by_name = found
            body = b""
        else:
            length = _LENGTH.search(data, begin - 2, end)
            if length is None:
                return None
            first, last = length.span(1)
            known = self._before_body.get((data[begin:first], data[last:end]))
            digits = data[first:last]
            if known is None or len(data) - end != int(digits):
                return None
            (headers, by_name), place = known
            headers = headers.copy()
            headers[place] = (_NAME, digits)
            by_name = {**by_name, _NAME: digits}
            body = data[end:]
        method, path, query = line.groups(b"")
        return KnownHead(method.decode("ascii"), path, query, headers, by_name, body)

    def add(self, data: bytes, headers: Headers, by_name: Mapping[bytes, bytes]) -> None:
        """Keep the fields of a request that ``data`` was, if it is of the kind that is kept."""
        line = _REQUEST_LINE.match(data)
        if line is None or not _NOT_KEPT.isdisjoint(by_name):
            return
        begin = line.end()
        end = data.find(_END, begin - 2) + len(_END)
        digits = by_name.get(_NAME, b"0")
        if end - begin > _MAX_BYTES or len(data) - end != int(digits):
            return
        if len(self._whole) + len(self._before_body) >= _MAX_HEADS:
            self._whole.clear()
            self._before_body.clear()
        if len(data) == end:
            self._whole[data[begin:]] = (headers, by_name)
        elif (length := _LENGTH.search(data, begin - 2, end)) is not None:
            first, last = length.span(1)
            place = headers.index((_NAME, digits))
            self._before_body[data[begin:first], data[last:end]] = (headers, by_name), place
