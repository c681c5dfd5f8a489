"""The other end of HTTP/1.1: one connection that sends prepared requests and times nothing.

Made for load and probes, where a client library's objects for each answer would cost more than
what is measured. Invariant: of one request comes exactly one `Owner.answered` or one `Owner.lost`,
and an answer counts only when all of it has come. Bodies are read and dropped. Not for general
use: no redirects, no pool, no pipelining, and an answer that ends with its connection, without a
length, counts as lost. Used by ``paceline.console.load``, which owns the connections.
"""

import asyncio
from typing import Final, Protocol, cast

import httptools

_SWITCHING: Final = 101
_INFORMATIONAL: Final = range(100, 200)


class Owner(Protocol):
    """Who is told what becomes of a connection. Called from the loop; must not block."""

    def answered(self, status: int, *, reusable: bool) -> None:
        """The whole answer is here; ``reusable``: the connection takes another request."""
        ...

    def lost(self, reason: str, *, unanswered: bool) -> None:
        """The connection has ended, with a request out or not; the last thing that is told."""
        ...


class ClientConnection(asyncio.Protocol):
    """A protocol for ``loop.create_connection``.

    ``bodiless``: the requests are HEAD, whose answers have a length and no body.

    *Resources*: its transport, until `abort` or the end of the connection.
    """

    def __init__(self, owner: Owner, *, bodiless: bool = False) -> None:
        self._owner = owner
        self._bodiless = bodiless
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reason = ""
        self.waiting = False
        self.closed = False
        self.received = 0

    def send(self, request: bytes) -> None:
        """Send one request, all of it, on a connection that has none under way."""
        if self._transport is None or self.waiting:
            raise RuntimeError("the connection cannot take a request now")
        self.waiting = True
        self._transport.write(request)

    def abort(self, reason: str) -> None:
        """End it at once; ``reason`` is what the owner is told."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Some bytes of an answer."""
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort("not an HTTP/1.1 answer")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._transport = None
        self.closed = True
        unanswered, self.waiting = self.waiting, False
        self._owner.lost(self._reason or _reason_of(exc), unanswered=unanswered)

    def on_headers_complete(self) -> None:
        """Called by the parser: for HEAD this is the end."""
        if self._bodiless and self._parser.get_status_code() not in _INFORMATIONAL:
            reusable = self._parser.should_keep_alive()
            status = self._parser.get_status_code()
            self._parser = httptools.HttpResponseParser(self)  # the old one waits for the body
            self._finish(status, reusable=reusable)

    def on_message_complete(self) -> None:
        """Called by the parser: one answer, or one of those that come before it."""
        status = self._parser.get_status_code()
        if status in _INFORMATIONAL and status != _SWITCHING:
            return
        self._finish(status, reusable=self._parser.should_keep_alive())

    def _finish(self, status: int, *, reusable: bool) -> None:
        if not self.waiting:
            self.abort("an answer that nobody asked for")
            return
        self.waiting = False
        self._owner.answered(status, reusable=reusable)


def _reason_of(exc: Exception | None) -> str:
    if exc is None:
        return "connection closed"
    return "connection reset" if isinstance(exc, ConnectionError) else type(exc).__name__
