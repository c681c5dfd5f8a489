"""Static files of a package, compressed as they are stored, with tags and caching for browsers.

A file is read when it is first asked for and kept compressed. The page names the others with their
hash (``docs.js?v=…``), so what was named so may be kept for ever; without the hash, or with that of
another version, a browser has to ask whether it is still current.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qs

from paceline.http.asgi import Headers, Receive, Scope, Send, header_list, header_text
from paceline.http.conditional import is_not_modified

_MIN_COMPRESSED: Final = 1000  # bytes; below, compressing saves nothing
_FOREVER: Final = (b"cache-control", b"public, max-age=31536000, immutable")
_ASK: Final = (b"cache-control", b"no-cache")


class Asset:
    """A file to be served. ``read`` gives its content, ``compressed``: with gzip already."""

    def __init__(
        self,
        read: Callable[[], bytes],
        content_type: str,
        *,
        compressed: bool = False,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._read = read
        self._compressed = compressed
        self._headers: Headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"x-content-type-options", b"nosniff"),
            (b"vary", b"accept-encoding"),
            *headers,
        ]
        self._content: bytes | None = None
        self._tag = ""

    @property
    def tag(self) -> str:
        """The content's hash, shortened; the same for the same content."""
        self._load()
        return self._tag

    def _load(self) -> bytes:
        if self._content is None:
            content = self._read()
            self._tag = hashlib.sha256(content).hexdigest()[:16]
            if not self._compressed and len(content) >= _MIN_COMPRESSED:
                content, self._compressed = gzip.compress(content, 9, mtime=0), True
            self._content = content
        return self._content

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a GET."""
        content = self._load()
        headers = [*self._headers, _FOREVER if self._is_named(scope) else _ASK]
        zipped = self._compressed and _accepts_gzip(scope)
        tag = b'"%b%b"' % (self._tag.encode(), b"-gz" if zipped else b"")
        headers.append((b"etag", tag))
        if is_not_modified(headers, None, header_text(scope, b"if-none-match")):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if zipped:
            headers.append((b"content-encoding", b"gzip"))
        elif self._compressed:
            # Every browser takes gzip, so this is rare; it takes some milliseconds.
            content = await asyncio.to_thread(gzip.decompress, content)
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _is_named(self, scope: Scope) -> bool:
        query: bytes = scope["query_string"]
        return parse_qs(query.decode("latin-1")).get("v") == [self._tag]


def _listed(scope: Scope, name: bytes) -> list[bytes]:
    return [part.strip() for part in b",".join(header_list(scope, name)).split(b",")]


def _accepts_gzip(scope: Scope) -> bool:
    for value in _listed(scope, b"accept-encoding"):
        coding, _, quality = value.lower().partition(b";")
        if coding.strip() in {b"gzip", b"x-gzip", b"*"}:
            return quality.replace(b" ", b"").rstrip(b"0.") != b"q="
    return False
