"""Requests whose body is still arriving: how many there may be, and how much of them is held.

Waiting for a client is no work, so such a request does not count as one in flight while it waits
(its permit is paused); otherwise forty clients that send a byte a second would have everybody else
refused. What it does take is memory, which has bounds of its own here. A body that has arrived when
the app asks for it is never counted, so small requests pass however many slow ones there are.
"""

import asyncio
from typing import Protocol

from paceline.http.asgi import PERMIT, Scope


class PausablePermit(Protocol):
    """`paceline.resilience.Permit`, as far as it is used here."""

    def pause(self) -> None:
        """The request waits for its client."""
        ...

    def resume(self) -> None:
        """It goes on."""
        ...


class Uploads:
    """Of one server: at most ``max_waiting`` at once, and ``max_bytes`` of them together."""

    __slots__ = ("held", "max_bytes", "max_waiting", "waiting")

    def __init__(self, *, max_waiting: int, max_bytes: int) -> None:
        self.max_waiting: int = max_waiting
        self.max_bytes: int = max_bytes
        self.waiting: int = 0
        self.held: int = 0

    def has_room(self, size: int) -> bool:
        """Whether one more may wait, of which ``size`` bytes have arrived."""
        return self.waiting < self.max_waiting and self.held + size <= self.max_bytes

    async def wait(self, scope: Scope, size: int, event: asyncio.Event) -> None:
        """Wait for ``event``: more of the body of a request, of which ``size`` bytes are held."""
        permit: PausablePermit | None = scope.get(PERMIT)
        self.waiting += 1
        self.held += size
        if permit is not None:
            permit.pause()
        try:
            await event.wait()
        finally:
            self.waiting -= 1
            self.held -= size
            if permit is not None:
                permit.resume()
