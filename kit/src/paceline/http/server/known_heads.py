"""The fields of requests that came before: a client sends the same ones with each request.

A head whose bytes after the request line were parsed and checked before has the same fields, so
only its request line is read. Invariant: what is kept followed a request line of HTTP/1.1, was
parsed and checked in one piece of data with nothing but its body, whose length it gives if there is
one, and said nothing of the connection or of another protocol; what is found is such a piece, too.
So the parser, which does not see the request, has nothing to remember of it. A target with anything
but plain characters is left to the parser. Bounded: so many heads, none of them long.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from paceline.http.asgi import Headers

_REQUEST_LINE: Final = re.compile(
    rb"(GET|POST|PUT|DELETE) (/[A-Za-z0-9/._~-]*)(?:\?([A-Za-z0-9._~=&-]*))? HTTP/1\.1\r\n"
)
_END: Final = b"\r\n\r\n"
_NOT_KEPT: Final = frozenset(
    {b"expect", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
_MAX_BYTES: Final = 1024
_MAX_HEADS: Final = 2048


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

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[Headers, Mapping[bytes, bytes], int]] = {}

    def find(self, data: bytes) -> KnownHead | None:
        """The request that ``data`` is, whole, if its fields are known."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            return None
        end = data.find(_END, line.end() - 2) + len(_END)
        found = self._heads.get(data[line.end() : end])
        if found is None:
            return None
        headers, by_name, length = found
        if len(data) - end != length:
            return None
        method, path, query = line.groups(b"")
        return KnownHead(method.decode("ascii"), path, query, headers, by_name, data[end:])

    def add(self, data: bytes, headers: Headers, by_name: Mapping[bytes, bytes]) -> None:
        """Keep the fields of a request that ``data`` was, if it is of the kind that is kept."""
        line = _REQUEST_LINE.match(data)
        if line is None or not _NOT_KEPT.isdisjoint(by_name):
            return
        end = data.find(_END, line.end() - 2) + len(_END)
        length = int(by_name.get(b"content-length", b"0"))
        if end - line.end() > _MAX_BYTES or len(data) - end != length:
            return
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[data[line.end() : end]] = (headers, by_name, length)
