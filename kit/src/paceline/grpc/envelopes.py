"""Messages in envelopes: a byte of flags and four of length before each, as gRPC-Web and Connect.

Invariant: in memory are one message and one piece of the body at most. A message of which the
length is over the limit is refused before it arrives. Base64 (application/grpc-web-text) is decoded
piece by piece; it may have padding wherever its sender flushed.
"""

import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Callable
from struct import Struct
from typing import Final

from paceline.errors import Code, Error
from paceline.grpc.refusals import cut_short, more_messages, no_message, too_large
from paceline.grpc.web_request import WebRequest

_PREFIX: Final = Struct(">BI")
_PREFIX_SIZE: Final = _PREFIX.size
_PADDED: Final = re.compile(rb"[^=]+={0,2}")


def envelope(flags: int, message: bytes) -> bytes:
    """A message in its envelope."""
    return _PREFIX.pack(flags, len(message)) + message


class Envelopes:
    """The messages of a request's body: an asynchronous iterator, for one task.

    ``unpack``: makes a message of flags and bytes; it raises Error for what breaks a rule.
    ``limit``: bytes of a message. ``text``: the body is base64.
    """

    def __init__(
        self,
        request: WebRequest,
        unpack: Callable[[int, bytes], bytes],
        limit: int,
        *,
        text: bool = False,
    ) -> None:
        self._request = request
        self._unpack = unpack
        self._limit = limit
        self._text = TextDecoder() if text else None
        self._data = bytearray()
        self._ended = False

    def __aiter__(self) -> "Envelopes":
        """Itself."""
        return self

    async def __anext__(self) -> bytes:
        """The next message. Errors: Error for one that breaks a rule, or without a client."""
        data = self._data
        while (end := self._end()) is None or len(data) < end:
            if self._ended:
                if data or (self._text is not None and self._text.rest):
                    raise cut_short()
                raise StopAsyncIteration
            piece, more = await self._request.receive()
            self._ended = not more
            data += piece if self._text is None else self._text.decode(piece)
        flags, message = data[0], bytes(data[_PREFIX_SIZE:end])
        del data[:end]
        return self._unpack(flags, message)

    def _end(self) -> int | None:
        """Where the message at the start ends, if its length is there."""
        if len(self._data) < _PREFIX_SIZE:
            return None
        size: int = _PREFIX.unpack_from(self._data)[1]
        if size > self._limit:
            raise too_large(size, self._limit)
        return _PREFIX_SIZE + size

    async def single(self) -> bytes | Error:
        """The only message, or what is wrong: none, two, or one that breaks a rule.

        Errors: Error(CANCELLED) when the client has disconnected.
        """
        try:
            found = await anext(self, None)
            if found is None:
                return no_message()
            if await anext(self, None) is not None:
                return more_messages()
        except Error as exc:
            if exc.code is Code.CANCELLED:
                raise
            return exc
        return found


class TextDecoder:
    """Base64 in pieces, with padding anywhere between groups of four."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest: bytes = b""
        """The beginning of a group of four."""

    def decode(self, data: bytes) -> bytes:
        """What a further piece means. Errors: Error(INVALID_ARGUMENT)."""
        data = self.rest + data
        whole = len(data) // 4 * 4
        data, self.rest = data[:whole], data[whole:]
        groups: list[bytes] = _PADDED.findall(data)
        try:
            if sum(map(len, groups)) == whole:
                return b"".join([b64decode(group, validate=True) for group in groups])
        except BadBase64:
            pass
        raise Error(Code.INVALID_ARGUMENT, "the request is not base64")
