"""One stream of a connection: what has been received, and what waits to be sent.

Invariant: a stream is open as long as the connection holds it in ``streams``, and one that is
``closed`` there has been answered before its request was whole: what still comes of that is
discarded. Everything that the client does not take yet (its windows, its socket) waits in
``pending`` in the order of sending, and once something waits, all that follows waits behind it.
"""

import asyncio
from collections import deque
from typing import Protocol

from paceline.http.asgi import Headers
from paceline.http.server.http2.frames import (
    DATA,
    DATA_STARTS,
    END_STREAM,
    FRAME,
    HEADERS,
    HEADERS_STARTS,
    SHORT_BLOCK,
    SHORT_DATA,
    TRAILERS_STARTS,
    header_frames,
    response_frames,
)
from paceline.http.server.http2.request_head import RequestHead
from paceline.http.server.streams import StreamHandler


class StreamConnection(Protocol):
    """The connection, as far as its streams use it."""

    client: tuple[str, int] | None
    read_deadline: float
    """Until when a request whose head has just arrived must be whole."""
    initial_window: int
    """Of each stream, as the client has set it."""
    stream_window: int
    """The same of this side."""
    send_window: int
    max_frame: int
    write_paused: bool
    unused_credit: int
    """Bytes of bodies that have been used and not yet been given back to the client."""
    credit_step: int

    def write(self, data: bytes) -> None:
        """Send frames of a response at the end of the round."""
        ...

    def advance(self, stream: "Stream") -> None:
        """Send of what is pending as much as the client takes."""
        ...

    def response_ended(self, stream: "Stream") -> None:
        """END_STREAM has been sent."""
        ...

    def give_back(self) -> None:
        """Let the client send as many more bytes as have been used."""
        ...

    def give_back_to(self, stream: "Stream") -> None:
        """Let the client send more on this stream."""
        ...

    def reset_stream(self, stream: "Stream", code: int) -> None:
        """End both directions."""
        ...


class Stream:
    """A `RequestStream` of a connection."""

    __slots__ = (
        "_connection",
        "_head",
        "authority",
        "client",
        "closed",
        "credit",
        "deadline",
        "ending",
        "handler",
        "headers",
        "held",
        "id",
        "method",
        "offset",
        "pending",
        "queued",
        "received",
        "remaining",
        "scheme",
        "seen",
        "send_window",
        "sent",
        "stuck_since",
        "target",
        "task",
        "waiting",
        "window",
    )

    def __init__(self, connection: StreamConnection, number: int, head: RequestHead) -> None:
        self._connection = connection
        self._head = head
        self.id: int = number
        self.method: str = head.method
        self.target: bytes = head.target
        self.authority: bytes = head.authority
        self.scheme: str = head.scheme
        self.headers: Headers = head.headers
        self.client: tuple[str, int] | None = connection.client
        self.handler: StreamHandler | None = None
        self.task: asyncio.Task[None] | None = None
        self.received: bool = False  # the request is whole
        self.ending: bool = False  # END_STREAM has been sent or waits
        self.closed: bool = False
        length = head.content_length
        self.remaining: int = -1 if length is None else length  # bytes of the body still to come
        self.window: int = connection.stream_window  # bytes that the client may send
        self.held: int = 0  # bytes received and not used yet
        self.credit: int = 0  # bytes used and not yet given back to the client
        self.send_window: int = connection.initial_window
        self.pending: deque[tuple[int, bytes, bool]] | None = None
        self.offset: int = 0  # in the first of them
        self.queued: bool = False  # among those that the connection sends of
        self.waiting: bool = False  # the handler waits for `StreamHandler.writable`
        self.sent: int = 0  # bytes, when something was pending
        self.seen: int = 0  # of these at the last check
        self.stuck_since: float = 0.0
        self.deadline: float = connection.read_deadline

    @property
    def connection(self) -> object:
        """See `RequestStream`."""
        return self._connection

    @property
    def prepared(self) -> object:
        """See `RequestStream`."""
        return self._head.prepared

    @prepared.setter
    def prepared(self, made: object) -> None:
        self._head.prepared = made

    def send(self, data: bytes, *, end: bool = False) -> bool:
        """See `RequestStream`."""
        if self.ending:
            return True
        connection = self._connection
        size = len(data)
        if (
            not self.pending
            and size <= self.send_window
            and size <= connection.send_window
            and size <= connection.max_frame
            and not connection.write_paused
        ):
            if size or end:
                self.send_window -= size
                connection.send_window -= size
                connection.write(
                    FRAME.pack(size >> 8, size & 255, DATA, END_STREAM if end else 0, self.id)
                    + data
                )
                if end:
                    self.ending = True
                    connection.response_ended(self)
            return True
        self._queue(DATA, data, end=end)
        if self.pending and not self.closed:
            self.waiting = True
            return False
        return True

    def send_headers(self, block: bytes, *, end: bool = False) -> None:
        """See `RequestStream`."""
        if self.ending:
            return
        connection = self._connection
        if self.pending or connection.write_paused:
            self._queue(HEADERS, block, end=end)
            return
        connection.write(header_frames(self.id, block, end=end, max_frame=connection.max_frame))
        if end:
            self.ending = True
            connection.response_ended(self)

    def respond(self, head: bytes, body: bytes, trailers: bytes) -> None:
        """See `RequestStream`."""
        if self.ending:
            return
        connection = self._connection
        size, first, last = len(body), len(head), len(trailers)
        limit = connection.max_frame
        if (
            self.pending
            or connection.write_paused
            or size > self.send_window
            or size > connection.send_window
            or size > limit
            or first > limit
            or last > limit
        ):
            self._respond_in_parts(head, body, trailers)
            return
        self.send_window -= size
        connection.send_window -= size
        if 0 < first < SHORT_BLOCK and 0 < size < SHORT_DATA and 0 < last < SHORT_BLOCK:
            number = self.id.to_bytes(4, "big")
            frames = b"".join((
                HEADERS_STARTS[first], number, head, DATA_STARTS[size], number, body,
                TRAILERS_STARTS[last], number, trailers,
            ))  # fmt: skip
        else:
            frames = response_frames(self.id, head, body, trailers)
        connection.write(frames)
        self.ending = True
        connection.response_ended(self)

    def _respond_in_parts(self, head: bytes, body: bytes, trailers: bytes) -> None:
        if head:
            self.send_headers(head, end=not body and not trailers)
        if body or not (head or trailers):
            self.send(body, end=not trailers)
        if trailers:
            self.send_headers(trailers, end=True)
        self.waiting = False

    def consume(self, size: int) -> None:
        """See `RequestStream`."""
        if self.closed:
            return  # it has been given back then
        held = self.held
        size = min(size, held)
        self.held = held - size
        connection = self._connection
        connection.unused_credit += size
        if connection.unused_credit >= connection.credit_step:
            connection.give_back()
        if not self.received:
            self.credit += size
            if self.credit >= connection.stream_window >> 1:
                connection.give_back_to(self)

    def reset(self, code: int) -> None:
        """See `RequestStream`."""
        if not self.closed:
            self.handler = None
            self._connection.reset_stream(self, code)

    def attach(self, task: asyncio.Task[None]) -> None:
        """See `RequestStream`."""
        self.task = task

    def lift_read_timeout(self) -> None:
        """See `RequestStream`."""
        self.deadline = float("inf")

    def _queue(self, kind: int, data: bytes, *, end: bool) -> None:
        if self.pending is None:
            self.pending = deque()
        self.pending.append((kind, data, end))
        if end:
            self.ending = True
        self._connection.advance(self)
