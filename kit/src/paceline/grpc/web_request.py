"""A request of HTTP, of any version, that is a call: its fields, its body and the way to answer.

What gRPC-Web and Connect share below their messages. Invariant: of a body no more is read than the
next message needs, and no part of a response is sent before the client has taken the last one, so
both sides hold each other back.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from paceline.errors import Code, Error
from paceline.grpc.metadata import fields_of
from paceline.grpc.refusals import too_large
from paceline.http import STREAMING, Headers, Receive, Scope, Send

_WRITES_IN_A_ROW: Final = 32


class WebRequest:
    """One request, of an ASGI server. ``shared``: fields of every response to it (CORS)."""

    __slots__ = ("_receive", "_send", "_writes", "fields", "scope", "shared")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope: Scope = scope
        self.fields: Mapping[bytes, bytes] = fields_of(scope["headers"])
        self.shared: Headers = []
        self._receive = receive
        self._send = send
        self._writes = 0

    async def receive(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there are more.

        Errors: Error(CANCELLED) when the client has disconnected.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Error(Code.CANCELLED, "the client disconnected")
        return message.get("body", b""), message.get("more_body", False)

    async def read(self, limit: int) -> bytes | Error:
        """The whole body, or the error that it is larger than ``limit``.

        Errors: as `receive`.
        """
        declared = self.fields.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            return too_large(int(declared), limit)
        body, more = await self.receive()
        if more:
            pieces = bytearray(body)
            while more and len(pieces) <= limit:
                body, more = await self.receive()
                pieces += body
            body = bytes(pieces)
        return body if len(body) <= limit else too_large(len(body), limit)

    async def lift_timeouts(self) -> None:
        """Let request and response last: the server bounds silence from here on."""
        await self._send({"type": STREAMING})

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""
        headers = [*headers, *self.shared, (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, headers: Headers) -> None:
        """Begin a response of many parts, which may last."""
        headers = [*headers, *self.shared]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send a part; waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not end})
        if self._writes < _WRITES_IN_A_ROW:
            self._writes += 1
        elif not end:
            self._writes = 0
            await asyncio.sleep(0)  # a client that reads fast leaves the others their turn
