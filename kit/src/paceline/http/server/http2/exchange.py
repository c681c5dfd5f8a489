"""One request of an ASGI app over HTTP/2: its scope, ``receive`` and ``send``.

As over HTTP/1.1 the head is held until the first body event, so that a failure in between can still
be answered properly. What the client has not taken is not asked for again: ``send`` waits before
the next part.
"""

import asyncio
from http import HTTPStatus
from typing import Final

from paceline.concurrency import name_timeout
from paceline.http.asgi import STREAMING, ASGIApp, Headers, Message, Scope
from paceline.http.server.fields import encode_status
from paceline.http.server.http2.frames import CANCEL, INTERNAL_ERROR
from paceline.http.server.http2.response_head import problem_head, response_head, trailer_block
from paceline.http.server.http2.stream import Stream
from paceline.http.server.state import SharedState

_WITHOUT_BODY: Final = frozenset({204, 304})
_CONTINUE: Final = encode_status(100)


class Exchange:
    """The state of one request, from the end of its headers to the end of its response."""

    __slots__ = (
        "_awaits_trailers",
        "_blocked",
        "_body",
        "_changed",
        "_delivered",
        "_expects_continue",
        "_head",
        "_more_body",
        "_remaining",
        "_sent",
        "_state",
        "_stream",
        "_taken",
        "_trailers",
        "complete",
        "disconnected",
        "scope",
        "streaming",
        "write_deadline",
    )

    def __init__(
        self,
        state: SharedState,
        stream: Stream,
        scope: Scope,
        *,
        write_deadline: float,
        expects_continue: bool,
    ) -> None:
        self.scope: Scope = scope
        self.disconnected: bool = False
        self.complete: bool = False
        self.streaming: bool = False  # it may last as long as the client reads
        self.write_deadline: float = write_deadline
        self._state = state
        self._stream = stream
        self._expects_continue = expects_continue
        self._body: bytes | bytearray = b""
        self._more_body = True
        self._delivered = False
        self._head: bytes | None = None
        self._sent = False
        self._taken = 0  # bytes of the body that the app has, before it answers
        self._blocked = False
        self._trailers: list[bytes] | None = None
        self._awaits_trailers = False  # the body is whole
        self._remaining: int | None = None
        self._changed: asyncio.Event | None = None

    async def run(self, app: ASGIApp) -> None:
        """Call the app; however it ends, the request is answered or its stream reset."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError as exc:
            self._failed(exc)
            raise
        except Exception as exc:  # noqa: BLE001 - any failure of an app is answered
            self._failed(exc)
        else:
            if not self.complete:
                self._failed(RuntimeError("the app sent no complete response"))

    def _failed(self, error: BaseException) -> None:
        """Answer for an app that did not, if the client is connected and nothing was sent."""
        path: str = self.scope["path"]
        log = self._state.log
        if self.complete:
            if isinstance(error, Exception):
                log.error("failed after the response", path=path, error=error)
        elif self.disconnected:
            pass
        elif self._sent:
            # The app's middleware has logged the error. A torn body must not pass for a whole one.
            log.warning("response cut short", path=path, reason=type(error).__name__)
            self._end()
            self._stream.reset(INTERNAL_ERROR)
        else:
            log.error("request failed without an answer", path=path, error=error)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    # The request.

    def data_received(self, data: bytes) -> None:
        """Keep a piece of the body until `receive`."""
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data
        self._wake()

    def end_received(self, trailers: Headers) -> None:  # noqa: ARG002 - ASGI has none in requests
        """The request is whole."""
        self._more_body = False
        self._wake()

    def writable(self) -> None:
        """The client takes data again."""
        self._blocked = False
        self._wake()

    def closed(self) -> None:
        """The client has left: the app's task is cancelled."""
        self._end()
        task = self._stream.task
        if task is not None:
            task.cancel()

    def request_timed_out(self) -> None:
        """The request did not end in time."""
        self._give_up(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")

    def _give_up(self, status: HTTPStatus, detail: str) -> None:
        """End a request that is not whole."""
        if self._sent:
            self._cut(CANCEL)
        else:
            self._answer(status, detail)
            task = self._stream.task
            if task is not None:
                task.cancel()

    def response_timed_out(self) -> None:
        """The response took too long, or the client does not read it."""
        path, seconds = self.scope["path"], self._state.limits.write_timeout
        self._state.log.warning("response took too long", path=path, write_timeout=seconds)
        self._cut(CANCEL)

    def _cut(self, code: int) -> None:
        self._stream.reset(code)
        self.closed()

    def _answer(self, status: HTTPStatus, detail: str) -> None:
        head, body = problem_head(status, detail, self._state.date_field)
        self._stream.respond(head, b"" if self.scope["method"] == "HEAD" else body, b"")
        self._end()

    def _end(self) -> None:
        self.disconnected = True
        self._blocked = False
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _wait(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    async def _wait_for_body(self) -> None:
        """Wait for the rest of the request, if there is room for one more that does."""
        uploads = self._state.uploads
        held = 0 if self._sent else self._taken  # an app that answers meanwhile holds nothing
        if not uploads.has_room(held):
            self._give_up(
                HTTPStatus.SERVICE_UNAVAILABLE, "too many uploads at once, try again later"
            )
            return
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await uploads.wait(self.scope, held, self._changed)

    async def receive(self) -> Message:
        """The next piece of the body, or http.disconnect when no answer can be sent."""
        if self._expects_continue and not self._sent:
            self._expects_continue = False
            if not self._body and self._more_body and not self.disconnected:
                self._stream.send_headers(_CONTINUE)
        while not self.disconnected and not self.complete:
            if not self._delivered and (self._body or not self._more_body):
                body, self._body = bytes(self._body), b""
                self._delivered = not self._more_body
                if body:
                    self._taken += len(body)
                    self._stream.consume(len(body))
                return {"type": "http.request", "body": body, "more_body": self._more_body}
            if self._more_body and not self.streaming:
                await self._wait_for_body()
            else:
                await self._wait()
        return {"type": "http.disconnect"}

    # The response.

    async def send(self, message: Message) -> None:
        """Send a part of the response; waits while the client takes no more."""
        while self._blocked:
            try:
                await self._wait()
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
        if status in _WITHOUT_BODY or self.scope["method"] == "HEAD":
            self._remaining = -1

    def _send_body(self, body: bytes, *, more: bool) -> None:
        remaining = self._remaining
        if remaining is not None:
            if remaining < 0:  # HEAD, 204, 304: the body is not sent
                body = b""
            else:
                remaining -= len(body)
                if remaining < 0:
                    raise RuntimeError("the response is longer than its content-length")
                if remaining and not more:
                    raise RuntimeError("the response is shorter than its content-length")
                self._remaining = remaining
        last = not more and self._trailers is None
        stream = self._stream
        head, self._head = self._head, b""
        if last:
            self._sent = self.complete = True
            if head:
                stream.respond(head, body, b"")
            else:
                stream.send(body, end=True)
            self._wake()
            return
        if head:
            self._sent = True
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
        self._wake()
