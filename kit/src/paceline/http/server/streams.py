"""What an HTTP/2 connection and the handler of one of its streams say to each other.

Below ASGI, for protocols that know their messages' ends and send a whole response at once, as gRPC
does: a call costs no dictionaries and no awaits there. All methods are called in the event loop,
and none may block. Invariant: a handler hears of the end of its stream exactly once, by
`StreamHandler.closed`, unless it has ended both directions itself; it is not called afterwards.
"""

import asyncio
from typing import Protocol

from paceline.http.asgi import Headers


class RequestStream(Protocol):
    """One request of an HTTP/2 connection, and the way to its client."""

    method: str
    target: bytes
    """The ``:path``, as it came: "/package.Service/Method"."""
    authority: bytes
    scheme: str
    headers: Headers
    """The regular fields, names in lower case; shared with other requests, so not to be changed."""
    client: tuple[str, int] | None
    """None over a Unix socket."""

    @property
    def connection(self) -> object:
        """The same object for all streams of a connection, and for no others."""
        ...

    @property
    def prepared(self) -> object:
        """What a `StreamApp` has made of the head, for all requests with it; None at first."""
        ...

    @prepared.setter
    def prepared(self, made: object) -> None: ...

    def send(self, data: bytes, *, end: bool = False) -> bool:
        """Send a part of the body; ``end``: the last one.

        False: the client takes no more for now, and the rest waits in memory; send no more before
        `StreamHandler.writable`. Does nothing once the stream has closed.
        """
        ...

    def send_headers(self, block: bytes, *, end: bool = False) -> None:
        """Send response headers or trailers, encoded by `encode_fields`; trailers with ``end``."""
        ...

    def respond(self, head: bytes, body: bytes, trailers: bytes) -> None:
        """Send a whole response in one go: headers, body and trailers, each may be empty."""
        ...

    def consume(self, size: int) -> None:
        """Let the client send as many more bytes: these have been used."""
        ...

    def reset(self, code: int) -> None:
        """End both directions at once (RST_STREAM), without `StreamHandler.closed`."""
        ...

    def attach(self, task: asyncio.Task[None]) -> None:
        """Name the task that answers.

        Until it is done it counts among the connection's streams, also when the client has reset
        this one, and a stop of the server waits for it.
        """
        ...

    def lift_read_timeout(self) -> None:
        """Let the request last: without this its end must come within the server's read timeout."""
        ...


class StreamHandler(Protocol):
    """What answers one request."""

    def data_received(self, data: bytes) -> None:
        """A part of the request's body; give it back by `RequestStream.consume`."""
        ...

    def end_received(self, trailers: Headers) -> None:
        """The request is whole; its trailers are mostly empty."""
        ...

    def writable(self) -> None:
        """The client takes data again, after `RequestStream.send` was False."""
        ...

    def closed(self) -> None:
        """The client has reset the stream or disconnected, or the server ends it: cancel."""
        ...


class StreamApp(Protocol):
    """What takes requests of HTTP/2 before the ASGI application does."""

    def open(self, stream: RequestStream) -> StreamHandler | None:
        """The handler of a request whose headers have arrived; None: it is the ASGI app's.

        It may answer at once, before the body has arrived.
        """
        ...
