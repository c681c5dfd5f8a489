"""What is known of a response while it leaves: begun or not, status, size, headers to be added.

Several middleware want to see or to touch the same two messages. Each wrapping ``send`` for
itself would cost every request a closure and an await a time, so the outermost wraps it once and
the others find its `Tracked` in the scope. Each still works alone, and with foreign middleware in
between: what is tracked is what really leaves. Used by the middleware of this room.
"""

from collections.abc import Awaitable
from typing import Final

from paceline.http.asgi import Headers, Message, Scope, Send

_TRACKED: Final = "paceline.response"


class Tracked:
    """One response. ``headers`` are added to it when it begins."""

    __slots__ = ("_send", "headers", "size", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers: Headers = []
        self.status: int = 0
        self.size: int = 0

    @property
    def started(self) -> bool:
        """Whether it can no longer become another one."""
        return self.status != 0

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a part of the response on."""
        send = self._send
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.headers:
                message["headers"] = [*message.get("headers", ()), *self.headers]
        else:
            self.size += len(message.get("body", b""))
            if not message.get("more_body", False):
                # The server's ``send`` knows the scope, which knows us: a ring that only the
                # garbage collector could undo, once a request.
                self._send = _refuse
        return send(message)


async def _refuse(message: Message) -> None:
    raise RuntimeError(f"the response is complete: unexpected ASGI message {message['type']!r}")


def track(scope: Scope, send: Send) -> tuple[Tracked, Send]:
    """The request's `Tracked`, and the ``send`` to hand on inwards."""
    tracked: Tracked | None = scope.get(_TRACKED)
    if tracked is not None:
        return tracked, send
    tracked = scope[_TRACKED] = Tracked(send)
    return tracked, tracked.send
