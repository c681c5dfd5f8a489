"""One request of an ASGI app over HTTP/2: its scope, ``receive`` and ``send``.

As over HTTP/1.1 the head is held until the first body event, so that a failure in between can still
be answered properly. What the client has not taken is not asked for again: ``send`` waits before
the next part.
"""

import asyncio
from typing import Final

from paceline.concurrency import name_timeout
from paceline.http.asgi import STREAMING, Headers, Message, Scope
from paceline.http.server.exchange import WITHOUT_BODY, BaseExchange
from paceline.http.server.fields import encode_status
from paceline.http.server.http2.frames import CANCEL, INTERNAL_ERROR
from paceline.http.server.http2.response_head import problem_head, response_head, trailer_block
from paceline.http.server.http2.stream import Stream
from paceline.http.server.refusals import RequestRejected, too_slow
from paceline.http.server.state import SharedState

_CONTINUE: Final = encode_status(100)


class Exchange(BaseExchange):
    """An exchange on a stream, whose `StreamHandler` it is."""

    __slots__ = ("_blocked", "_stream", "write_deadline")

    # As in the base class: a name that is assigned here has its type here.
    body: bytes | bytearray
    complete: bool
    sent: bool
    streaming: bool

    def __init__(
        self,
        state: SharedState,
        stream: Stream,
        scope: Scope,
        *,
        write_deadline: float,
        expects_continue: bool,
    ) -> None:
        BaseExchange.__init__(self, state, scope, expects_continue)  # cheaper than super()
        self.write_deadline: float = write_deadline
        self._stream = stream
        self._blocked = False

    # The request.

    def data_received(self, data: bytes) -> None:
        """See `StreamHandler`."""
        self.add_body(data)

    def end_received(self, trailers: Headers) -> None:  # noqa: ARG002 - ASGI has none in requests
        """See `StreamHandler`."""
        self.end_body()

    def writable(self) -> None:
        """The client takes data again."""
        self._blocked = False
        self.wake()

    def closed(self) -> None:
        """The client has left: the app's task is cancelled."""
        self._end()
        task = self._stream.task
        if task is not None:
            task.cancel()

    def request_timed_out(self) -> None:
        """The request did not end in time."""
        self._give_up(too_slow())

    def response_timed_out(self) -> None:
        """The response took too long, or the client does not read it."""
        path, seconds = self.scope["path"], self._state.limits.write_timeout
        self._state.log.warning("response took too long", path=path, write_timeout=seconds)
        self._cancel()

    def _give_up(self, reason: RequestRejected) -> None:
        if self.sent:
            self._cancel()
            return
        self._refuse(reason)
        task = self._stream.task
        if task is not None:
            task.cancel()

    def _cancel(self) -> None:
        self._stream.reset(CANCEL)
        self.closed()

    def _refuse(self, reason: RequestRejected) -> None:
        head, body = problem_head(reason, self._state.date_field)
        self._stream.respond(head, b"" if self.scope["method"] == "HEAD" else body, b"")
        self._end()

    def _cut_off(self) -> None:
        self._end()
        self._stream.reset(INTERNAL_ERROR)

    def _end(self) -> None:
        self.disconnected = True
        self._blocked = False
        self.wake()

    async def receive(self) -> Message:
        """See `BaseExchange`."""
        if self.expects_continue and not self.sent:
            self.expects_continue = False
            if not self.body and self.more_body and not self.disconnected:
                self._stream.send_headers(_CONTINUE)
        while not self.disconnected and not self.complete:
            if not self._delivered and (self.body or not self.more_body):
                body, self.body = bytes(self.body), b""
                self._delivered = not self.more_body
                if body:
                    self._taken += len(body)
                    self._stream.consume(len(body))
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            if self.more_body and not self.streaming:
                await self._upload()
            else:
                await self._change()
        return {"type": "http.disconnect"}

    # The response.

    async def __call__(self, message: Message) -> None:
        """See `BaseExchange`."""
        while self._blocked:
            try:
                await self._change()
            except asyncio.CancelledError:
                name_timeout("writing the response")
                raise
        if self.disconnected:
            return
        kind = message["type"]
        if self.complete:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")
        if kind == "http.response.body" and self._head is not None and not self._awaits_trailers:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start" and self._head is None:
            self._start(message)
        elif kind == "http.response.trailers" and self._awaits_trailers:
            self._send_trailers(message)
        elif kind == STREAMING:
            self.streaming = True
            self._stream.lift_read_timeout()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def _start(self, message: Message) -> None:
        status: int = message["status"]
        headers: Headers = message.get("headers", [])
        self._head, self._remaining = response_head(status, headers, self._state.date_field)
        self.streaming = message.get(STREAMING, self.streaming)
        if message.get("trailers", False):
            self._trailers = []
        if status in WITHOUT_BODY or self.scope["method"] == "HEAD":
            self._remaining = -1

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._remaining is not None:
            body = self._counted(body, self._remaining, more=more)
        last = not more and self._trailers is None
        stream = self._stream
        head, self._head = self._head, b""
        if last:
            self.sent = self.complete = True
            if head:
                stream.respond(head, body, b"")
            else:
                stream.send(body, end=True)
            self.wake()
            return
        if head:
            self.sent = True
            stream.send_headers(head)
        if body:
            self._blocked = not stream.send(body)
        if not more:
            self._awaits_trailers = True

    def _send_trailers(self, message: Message) -> None:
        if self._trailers is None:
            return
        self._trailers.append(trailer_block(message.get("headers", [])))
        if message.get("more_trailers", False):
            return
        block = b"".join(self._trailers)
        self.complete = True
        if block:
            self._stream.send_headers(block, end=True)
        else:
            self._stream.send(b"", end=True)
        self.wake()
