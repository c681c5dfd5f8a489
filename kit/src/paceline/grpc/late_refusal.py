"""The refusal of a call with many messages, sent when its client has begun to send them.

grpcio's client (aio) reports INTERNAL where an answer comes before its first message has been
written: github.com/grpc/grpc/issues/36066. So such a refusal waits for the first bytes or the end
of the request, and not longer than a client takes that is about to send. The wait costs a timer
and no task. Rejected: a pause before every refusal, which clients that have sent would wait for.
"""

import asyncio
from typing import Final

from paceline.http import Headers
from paceline.http.server import RequestStream

_FIRST_MESSAGE: Final = 0.05  # seconds


class LateRefusal:
    """A `StreamHandler` that answers once, by ``head`` and ``trailers``, and reads nothing."""

    __slots__ = ("_head", "_stream", "_timer", "_trailers")

    def __init__(self, stream: RequestStream, head: bytes, trailers: bytes = b"") -> None:
        self._stream = stream
        self._head = head
        self._trailers = trailers
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = loop.call_later(_FIRST_MESSAGE, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self.closed()
            self._stream.respond(self._head, b"", self._trailers)

    def data_received(self, data: bytes) -> None:
        """See `StreamHandler`."""
        del data
        self._send()

    def end_received(self, trailers: Headers) -> None:
        """See `StreamHandler`."""
        del trailers
        self._send()

    def writable(self) -> None:
        """See `StreamHandler`."""

    def closed(self) -> None:
        """See `StreamHandler`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
