"""The streams that are open: bounded in number, and ended together when the server stops.

A stream has no deadline, so without this a drain would wait for its clients. Each ends with
UNAVAILABLE, the code after which clients connect again. One more than ``limit`` is refused with
RESOURCE_EXHAUSTED: a stream costs memory for as long as its client likes. Innermost around every
streaming method; ``app`` holds it and ``server`` ends it.
"""

import asyncio

from paceline.errors import Code, Error
from paceline.grpc.call import Call, Endpoint, Method


class Ended(Error):
    """The server stops; nothing went wrong."""

    kind = "shutting-down"

    def __init__(self) -> None:
        super().__init__(Code.UNAVAILABLE, "the server is shutting down: connect again")


class Streams:
    """Counts streams and ends them. Setting: ``limit`` of them at once."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._open: set[asyncio.Timeout] = set()
        self._ending = False

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def begin(self) -> None:
        """Let streams in, also again after `end`."""
        self._ending = False

    def end(self) -> None:
        """Let nobody in, and end what is open; it unwinds by itself."""
        self._ending = True
        now = asyncio.get_running_loop().time()
        for timeout in self._open:
            if not timeout.expired():
                timeout.reschedule(now)

    def around(self, endpoint: Endpoint, method: Method) -> Endpoint:
        """The interceptor."""
        if not method.streams:
            return endpoint

        async def counted(call: Call) -> bytes | None:
            if self._ending:
                raise Ended
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
                raise Ended from exc

        return counted
