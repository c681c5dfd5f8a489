"""The streams that are open: bounded in number, and ended together when the server stops.

A stream has no deadline, so without this a drain would wait for its clients. Each ends with
UNAVAILABLE, the code after which clients reconnect. One more than ``limit`` is refused with
RESOURCE_EXHAUSTED, because a stream costs memory for as long as its client likes. It is the
innermost interceptor of every streaming method.
"""

import asyncio

from paceline.errors import Code, Error
from paceline.grpc.call import Call, Endpoint, Method


class ShuttingDown(Error):
    """The server stops: UNAVAILABLE, after which a client reconnects. Not logged as a failure."""

    kind = "shutting-down"

    def __init__(self) -> None:
        super().__init__(Code.UNAVAILABLE, "the server is shutting down: connect again")


class OpenStreams:
    """Counts streams and ends them. Setting: ``limit`` of them at once."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._open: set[asyncio.Timeout] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def open(self) -> None:
        """Accept streams, also again after `close`."""
        self._closed = False

    def close(self) -> None:
        """Refuse new streams and end those that are open, without waiting for them."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for timeout in self._open:
            if not timeout.expired():
                timeout.reschedule(now)

    def intercept(self, endpoint: Endpoint, method: Method) -> Endpoint:
        """The interceptor."""
        if not method.streams:
            return endpoint

        async def counted(call: Call) -> bytes | None:
            if self._closed:
                raise ShuttingDown
            if len(self._open) >= self._limit:
                raise Error(Code.RESOURCE_EXHAUSTED, "too many streams are open: try again later")
            timeout = asyncio.timeout(None)
            try:
                async with timeout:
                    self._open.add(timeout)
                    try:
                        return await endpoint(call)
                    finally:
                        self._open.discard(timeout)
            except TimeoutError as exc:
                if not timeout.expired():
                    raise
                raise ShuttingDown from exc

        return counted
