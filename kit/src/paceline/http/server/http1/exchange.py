"""One request and its response: the ASGI ``receive``, and ``send``, of one call of the app.

The head is held until the first body event, as ASGI requires: head and body are sent in one write,
and a failure in between can still be answered properly. Trailers are sent behind a chunked body to
a client that takes them, and dropped otherwise. Framing is decided here alone: an app's
``transfer-encoding`` and ``connection`` headers are not copied. Header injection is impossible: a
head with more lines than fields is refused.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol

from paceline.concurrency import name_timeout
from paceline.http.asgi import STREAMING, Message, Scope
from paceline.http.server.exchange import NO_CONTENT, WITHOUT_BODY, BaseExchange
from paceline.http.server.http1.flow_control import FlowControl
from paceline.http.server.refusals import RequestRejected
from paceline.http.server.response_fields import (
    CONNECTION_FIELDS,
    check_status,
    content_length,
    lower_name,
    trailer_fields,
)
from paceline.http.server.state import SharedState
from paceline.http.server.transports import send_now

_MAX_JOINED: Final = 64 * 1024
_FRAMING: Final = CONNECTION_FIELDS | {b"content-length", b"date"}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ResponseTransport(Protocol):
    """The connection, as far as an exchange uses it."""

    transport: asyncio.Transport
    flow: FlowControl
    state: SharedState
    descriptor: int

    def finished(self, exchange: "Exchange") -> None:
        """The response is complete."""
        ...

    def expect_body(self, *, waiting: bool) -> None:
        """The request may last: its client may be silent for the idle timeout while it is read."""
        ...

    def answer(self, reason: RequestRejected) -> None:
        """Refuse the request that is being answered, and close after that."""
        ...

    def cut_off(self) -> None:
        """Close at once, so that the client notices."""
        ...


class Exchange(BaseExchange):
    """An exchange whose response is written to the connection."""

    __slots__ = (
        "_chunked", "_connection", "_takes_trailers", "keep_alive", "written",
    )  # fmt: skip

    # As in the base class: a name that is assigned here has its type here.
    body: bytes | bytearray
    complete: bool
    sent: bool
    streaming: bool

    def __init__(
        self,
        connection: ResponseTransport,
        scope: Scope,
        *,
        keep_alive: bool,
        expects_continue: bool,
        takes_trailers: bool = False,
    ) -> None:
        BaseExchange.__init__(
            self, connection.state, scope, expects_continue
        )  # cheaper than super()
        self.keep_alive: bool = keep_alive
        self.written: int = 0  # bytes of a stream so far
        self._connection = connection
        self._chunked = False
        self._takes_trailers = takes_trailers

    async def receive(self) -> Message:
        """See `BaseExchange`."""
        if self.expects_continue and not self.sent:
            self.expects_continue = False
            if not self.body and self.more_body and not self.disconnected:
                self._state.write_buffer.write(self._connection.transport, _CONTINUE)
        while not self.disconnected and not self.complete:
            if not self._delivered and (self.body or not self.more_body):
                body, self.body = bytes(self.body), b""
                self._delivered = not self.more_body
                self._taken += len(body)
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            if not self.more_body:
                await self._change()
                continue
            self._connection.flow.resume_reading()
            if self.streaming:  # it lasts: no upload, and its client's time is bounded by itself
                self._connection.expect_body(waiting=True)
                await self._change()
                if self.more_body:
                    self._connection.expect_body(waiting=False)
            else:
                await self._upload()
        return {"type": "http.disconnect"}

    def _refuse(self, reason: RequestRejected) -> None:
        self._connection.answer(reason)

    def _give_up(self, reason: RequestRejected) -> None:
        if self.sent:
            self._cut_off()
        else:
            self._refuse(reason)

    def _cut_off(self) -> None:
        self._connection.cut_off()

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a usual response at once; False: it needs `send`, which also refuses it."""
        connection = self._connection
        if (
            self._head is not None
            or self.disconnected
            or self.streaming
            or self.more_body
            or not self.keep_alive
            or len(body) > _MAX_JOINED
            or status in WITHOUT_BODY
            or connection.flow.write_paused
            or self.scope["method"] == "HEAD"
            or self.scope["http_version"] != "1.1"
        ):
            return False
        fields: list[bytes] = []
        for name, value in headers:
            start = _start_of(name)
            if not start:
                return False
            fields += (start, value)
        lines = b"".join(fields)
        if not _is_clean(lines, len(headers)):
            return False
        state = self._state
        data = b"%b%b%b\r\ncontent-length: %d\r\n\r\n%b" % (
            _status_line(status), state.date_line[:-2], lines, len(body), body,
        )  # fmt: skip
        self._head = b""
        self.sent = self.complete = True
        if state.answering == 1 and state.write_buffer.is_empty:
            send_now(connection.transport, connection.descriptor, data)
        else:
            state.write_buffer.write(connection.transport, data)
        self.wake()
        connection.finished(self)
        return True

    async def __call__(self, message: Message) -> None:
        """See `BaseExchange`."""
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            try:
                await flow.drain()
            except asyncio.CancelledError:
                name_timeout("writing the response")
                raise
        if self.disconnected:
            return
        expected = "http.response.start" if self._head is None else "http.response.body"
        if message["type"] != expected or self.complete or self._awaits_trailers:
            if message["type"] == STREAMING and not self.complete:
                self._lift_timeouts()
                return
            if message["type"] != "http.response.trailers" or not self._awaits_trailers:
                raise RuntimeError(f"unexpected ASGI message {message['type']!r}")
            self._send_trailers(message)
        elif self._head is None:
            self._head = self._render_head(message)
        else:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))

    def _lift_timeouts(self) -> None:
        """Let request and response last, before the response has begun."""
        self.streaming = True
        if self.more_body:
            self._connection.expect_body(waiting=False)

    def _send_body(self, body: bytes, *, more: bool) -> None:
        last = not more and self._trailers is None
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            data = data + b"0\r\n\r\n" if last else data
        else:
            data = (
                body if self._remaining is None else self._counted(body, self._remaining, more=more)
            )
        connection = self._connection
        if self._head:
            if len(data) <= _MAX_JOINED:
                data = self._head + data
            else:
                self._state.write_buffer.write(connection.transport, self._head)
            self._head = b""
            self.sent = True
        if data:
            if self.streaming:
                self.written += len(data)
            self._state.write_buffer.write(connection.transport, data)
        if last:
            self._finish()
        elif not more:
            self._awaits_trailers = True

    def _send_trailers(self, message: Message) -> None:
        fields = trailer_fields(message.get("headers", []))
        lines = self._trailers = self._trailers or []
        lines += [b"%b: %b\r\n" % field for field in fields]
        if message.get("more_trailers", False):
            return
        if self._chunked:
            sent = b"".join(lines) if self._takes_trailers else b""
            connection = self._connection
            self._state.write_buffer.write(connection.transport, b"0\r\n%b\r\n" % sent)
        self._awaits_trailers = False
        self._finish()

    def _finish(self) -> None:
        self.complete = True
        self.wake()
        self._connection.finished(self)

    def _render_head(self, message: Message) -> bytes:
        status: int = message["status"]
        line = _status_line(status)
        date_line = self._state.date_line
        self._remaining = None
        self.streaming = message.get(STREAMING, self.streaming)
        if message.get("trailers", False):
            self._trailers = []
        fields: list[bytes] = []
        for name, value in message.get("headers", ()):
            lower, start = _field(name)
            if lower in _FRAMING:
                if lower == b"content-length":
                    self._remaining = content_length(value, self._remaining)
                    if status == NO_CONTENT:
                        continue
                elif lower == b"date":
                    date_line = b""
                else:
                    if lower == b"connection" and b"close" in value.lower():
                        self.keep_alive = False
                    continue
            fields += (start, value, b"\r\n")
        return b"".join((line, date_line, _joined(fields), self._frame(status)))

    def _frame(self, status: int) -> bytes:
        """Decide how the body ends and whether to keep the connection; the end of the head."""
        version: str = self.scope["http_version"]
        coding = b""
        if status in WITHOUT_BODY or self.scope["method"] == "HEAD":
            self._remaining = -1
        elif self._remaining is None:
            self._chunked = version != "1.0"
            if self._chunked:
                coding = b"transfer-encoding: chunked\r\n"
            else:
                self.keep_alive = False
        if self.more_body:
            # An app that answers before it has read the request does not read the rest.
            self.keep_alive = False
        if not self.keep_alive:
            return coding + b"connection: close\r\n\r\n"
        if version == "1.0":
            return coding + b"connection: keep-alive\r\n\r\n"
        return coding + b"\r\n"


@lru_cache(maxsize=512)
def _status_line(status: int) -> bytes:
    check_status(status)
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())


@lru_cache(maxsize=512)
def _field(name: bytes) -> tuple[bytes, bytes]:
    """A header name in lower case, alone and as the start of its line; checked once."""
    lower = lower_name(name)
    return lower, lower + b": "


@lru_cache(maxsize=512)
def _start_of(name: bytes) -> bytes:
    """What ends the line before a field and begins its own; empty for a field of the framing."""
    lower, start = _field(name)
    return b"" if lower in _FRAMING else b"\r\n" + start


def _joined(fields: list[bytes]) -> bytes:
    """The lines of the fields, three parts each; a further line break is in a value."""
    head = b"".join(fields)
    if not _is_clean(head, len(fields) // 3):
        raise RuntimeError("invalid header value")
    return head


def _is_clean(head: bytes, lines: int) -> bool:
    return head.count(b"\n") == lines and head.count(b"\r") == lines and b"\0" not in head
