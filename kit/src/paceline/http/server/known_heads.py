"""The fields of requests that came before: a client sends the same ones with each request.

A head whose bytes after the request line were parsed and checked before has the same fields, so
only its request line is read. Invariant: what is kept followed a request line of the same method
and version, ended the piece of data that it came in, and said nothing of a body, of the connection
or of another protocol; so the parser, which does not see the request, has nothing to remember of
it. A target with anything but plain characters is left to the parser. Bounded: so many heads, none
of them long.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from paceline.http.asgi import Headers

_REQUEST_LINE: Final = re.compile(
    rb"GET (/[A-Za-z0-9/._~-]*)(?:\?([A-Za-z0-9._~=&-]*))? HTTP/1\.1\r\n"
)
_END: Final = b"\r\n\r\n"
_NOT_KEPT: Final = frozenset(
    {b"content-length", b"expect", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_MAX_BYTES: Final = 1024
_MAX_HEADS: Final = 2048


class KnownHead(NamedTuple):
    """A GET request. ``headers`` and ``by_name`` are shared, and must not be changed."""

    path: bytes
    query: bytes
    headers: Headers
    by_name: Mapping[bytes, bytes]


class KnownHeads:
    """The fields of heads by their bytes, for one server."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[Headers, Mapping[bytes, bytes]]] = {}

    def find(self, data: bytes) -> KnownHead | None:
        """The request that ``data`` is, whole, if its fields are known."""
        line = _REQUEST_LINE.match(data)
        if line is None:
            return None
        found = self._heads.get(data[line.end() :])
        return None if found is None else KnownHead(line[1], line[2] or b"", *found)

    def add(self, data: bytes, headers: Headers, index: Mapping[bytes, bytes]) -> None:
        """Keep the fields of a request that ``data`` was, if it is of the kind that is kept."""
        line = _REQUEST_LINE.match(data)
        if (
            line is None
            or len(data) - line.end() > _MAX_BYTES
            or data.find(_END) != len(data) - len(_END)
            or not _NOT_KEPT.isdisjoint(index)
        ):
            return
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[data[line.end() :]] = (headers, index)
