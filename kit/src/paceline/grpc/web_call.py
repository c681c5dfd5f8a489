"""A call that came as a request of HTTP: what gRPC-Web and Connect share of running it.

Invariant: a request whose message breaks a rule goes through the method's endpoint like any other,
as an error in place of the message, so it is authenticated, logged and measured, too. What is
refused before: a call for which there is no room, and fields that cannot be understood.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping

from paceline.errors import Error
from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call, ErrorStatus, is_own_timeout
from paceline.grpc.compression import ACCEPTED, compress
from paceline.grpc.encodings import known_encoding
from paceline.grpc.refusals import TOO_MANY_CALLS, past_deadline, too_slow
from paceline.grpc.route import Route
from paceline.grpc.status import error_status_of
from paceline.grpc.web_request import WebRequest
from paceline.http import Headers

Request = bytes | Error | AsyncIterator[bytes]


class WebCall:
    """The `Context` of such a call; subclasses know a protocol's fields and messages.

    ``timeout``: the client's, in seconds, and ``timeout_field`` where it says so. ``fault``: what
    is wrong with the request's fields, if anything is.
    """

    timeout_field: str = ""
    accept_field: bytes = b""
    """Where a client lists the encodings of messages that it takes."""

    def __init__(
        self, app: RpcApp, route: Route, request: WebRequest, timeout: float | None
    ) -> None:
        self.app: RpcApp = app
        self.route: Route = route
        self.request: WebRequest = request
        self.received_compressed: bool = False
        self.fault: ErrorStatus | None = None
        self.encoding: bytes | None = None
        """Of the messages that the client sends compressed."""
        self.response_encoding: bytes | None = None
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._deadline = None if timeout is None else self._loop.time() + timeout

    @property
    def headers(self) -> Headers:
        """See `Context`."""
        headers: Headers = self.request.scope["headers"]
        return headers

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """See `Context`."""
        return self.request.fields

    @property
    def client(self) -> str:
        """See `Context`."""
        address: tuple[str, int] | None = self.request.scope["client"]
        return "unix" if address is None else address[0]

    def time_remaining(self) -> float | None:
        """See `Context`."""
        if self._deadline is None or self._timeout is None:
            return None
        left = self._deadline - self._loop.time()
        if left > 0 and is_own_timeout(left, self._timeout):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return 0.0  # the client has left
        return max(0.0, left)

    async def send_initial(self, call: Call, /) -> None:
        """See `Context`."""
        raise NotImplementedError

    async def write(self, call: Call, message: bytes, /) -> None:
        """See `Context`."""
        raise NotImplementedError

    async def finish(self, call: Call, reply: bytes | None) -> None:
        """Send the answer. Errors: ValueError for what cannot be sent; nothing has been then."""
        raise NotImplementedError

    async def refuse(self, error: ErrorStatus) -> None:
        """Answer without a call having run."""
        call = Call(self.route.method, b"", self)
        call.error = error
        await self.finish(call, None)

    async def begins(self, encoding: bytes | None, name: str) -> bool:
        """Check whether there is room, and what the client says; False: it has been refused.

        ``encoding``: of its messages, from the field ``name``.
        """
        route, error = self.route, self.fault
        if route.refuses is not None and route.refuses():
            error = self.app.overloaded
        if error is None:
            try:
                self.encoding = known_encoding(encoding, name)
            except Error as exc:
                self.request.shared.append((self.accept_field, ACCEPTED))
                error = error_status_of(exc)
        if error is not None:
            await self.refuse(error)
        return error is None

    async def arrived(self, reading: Awaitable[bytes | Error]) -> bytes | Error:
        """The only message of the request, or the error that it took too long to arrive."""
        timeout = asyncio.timeout(self.app.limits.read_timeout)
        try:
            async with timeout:
                return await reading
        except TimeoutError:
            if not timeout.expired():
                raise
            return too_slow()

    async def run(self, request: Request) -> None:
        """Run the call and answer it."""
        app, route = self.app, self.route
        if not app.has_room():
            await self.refuse(TOO_MANY_CALLS)
            return
        call = Call(route.method, request, self)
        if route.compress:
            call.compression = True
        if route.method.streams:
            await self.request.lift_timeouts()
        reply = await self._run(call)
        try:
            await self.finish(call, reply)
        except ValueError as exc:
            self._loop.call_exception_handler(
                {"message": f"the answer of {route.method.path} cannot be sent", "exception": exc}
            )
            call.initial, call.trailing = [], []
            call.error = error_status_of(exc)
            await self.finish(call, None)

    async def _run(self, call: Call) -> bytes | None:
        if self._deadline is None or not self.route.timed:
            return await self.app.run(self.route, call)
        timeout = asyncio.timeout_at(self._deadline)
        try:
            async with timeout:
                return await self.app.run(self.route, call)
        except TimeoutError:
            if not timeout.expired():
                raise
            call.error = error_status_of(past_deadline(self._timeout or 0, self.timeout_field))
            return None

    def packed(self, call: Call, message: bytes) -> tuple[int, bytes]:
        """A message as it is sent, and 1 if it is compressed."""
        if call.compression and self.response_encoding is not None:
            return 1, compress(message, self.response_encoding)
        return 0, message
