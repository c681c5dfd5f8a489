"""A response while it is sent: whether it has begun, its status, its size, headers to be added.

Several middleware read or change the same two messages. If each wrapped ``send``, every request
would pay a closure and an await for each. So the outermost wraps it once and the others find the
`ResponseTracker` in the scope. Each still works alone, and with foreign middleware in between: what
is tracked is what is really sent.
"""

from collections.abc import Awaitable, Sequence
from typing import Final

from paceline.http.asgi import Headers, Message, Scope, Send, whole_of

_RESPONSE: Final = "paceline.response"


class ResponseTracker:
    """One response, and the ``send`` for it. ``headers`` are added to it when it begins."""

    __slots__ = ("_send", "_whole", "headers", "size", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._whole = whole_of(send)
        self.headers: Headers = []
        self.status: int = 0
        self.size: int = 0

    @property
    def started(self) -> bool:
        """Whether another response can no longer be sent instead."""
        return self.status != 0

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send the response at once, if the server can; see `SendWhole`."""
        whole = self._whole
        if whole is None or self.status or not whole(status, [*headers, *self.headers], body):
            return False
        self.status, self.size = status, len(body)
        self._send, self._whole = _send_after_end, None  # see below
        return True

    def __call__(self, message: Message) -> Awaitable[None]:
        """Pass a part of the response on."""
        send = self._send
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.headers:
                message["headers"] = [*message.get("headers", ()), *self.headers]
        else:
            self.size += len(message.get("body", b""))
            if not message.get("more_body", False):
                # The server's ``send`` refers to the scope, which refers to this tracker: a cycle
                # for the garbage collector, once a request, unless it is broken here.
                self._send, self._whole = _send_after_end, None
        return send(message)


async def _send_after_end(message: Message) -> None:
    raise RuntimeError(f"the response is complete: unexpected ASGI message {message['type']!r}")


def track_response(scope: Scope, send: Send) -> tuple[ResponseTracker, Send]:
    """The request's `ResponseTracker`, and the ``send`` to pass to the application."""
    tracker: ResponseTracker | None = scope.get(_RESPONSE)
    if tracker is not None:
        return tracker, send
    tracker = scope[_RESPONSE] = ResponseTracker(send)
    return tracker, tracker
