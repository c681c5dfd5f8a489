"""The streams that are open: bounded in number, and ended together when the server stops.

A stream has no deadline, so without this a drain would wait for its clients. Each ends with
UNAVAILABLE, the code after which clients reconnect. One too many is refused with
RESOURCE_EXHAUSTED, because a stream costs memory for as long as its client likes. Public methods,
such as health's Watch, have a number of their own, so that nobody without a token takes the place
of a caller who has one. It is the innermost interceptor of every streaming method.
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
    """Counts streams and ends them.

    Settings: ``limit`` of callers with a token at once; ``public_limit`` of all others, and
    ``client_limit`` of one address among these.
    """

    def __init__(self, *, limit: int, public_limit: int, client_limit: int) -> None:
        self._limit = limit
        self._public_limit = public_limit
        self._client_limit = client_limit
        self._open: set[asyncio.Timeout] = set()
        self._public = 0
        self._clients: dict[str, int] = {}
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

        async def authenticated(call: Call) -> bytes | None:
            if len(self._open) - self._public >= self._limit:
                raise _too_many()
            return await self._run(endpoint, call)

        async def public(call: Call) -> bytes | None:
            clients, client = self._clients, call.client
            of_client = clients.get(client, 0)
            if self._public >= self._public_limit or of_client >= self._client_limit:
                raise _too_many(" without a token")
            self._public += 1
            clients[client] = of_client + 1
            try:
                return await self._run(endpoint, call)
            finally:
                self._public -= 1
                clients[client] -= 1
                if not clients[client]:
                    del clients[client]

        return public if method.public else authenticated

    async def _run(self, endpoint: Endpoint, call: Call) -> bytes | None:
        if self._closed:
            raise ShuttingDown
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


def _too_many(whose: str = "") -> Error:
    return Error(Code.RESOURCE_EXHAUSTED, f"too many streams{whose} are open: try again later")
