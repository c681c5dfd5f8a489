"""A call whose answer is a sequence of envelopes, the last of them its status.

So are all answers of gRPC-Web, and those of Connect's streams.
"""

from paceline.grpc.app import RpcApp
from paceline.grpc.call import Call
from paceline.grpc.encodings import unpack
from paceline.grpc.envelopes import Envelopes, envelope
from paceline.grpc.route import Route
from paceline.grpc.web_call import WebCall
from paceline.grpc.web_request import WebRequest
from paceline.http import Headers


class FramedCall(WebCall):
    """What the two have in common."""

    def __init__(
        self, app: RpcApp, route: Route, request: WebRequest, timeout: float | None
    ) -> None:
        super().__init__(app, route, request, timeout)
        self._sent_head = False

    async def send_initial(self, call: Call, /) -> None:
        """See `Context`."""
        if not self._sent_head:
            await self._start(call)
            await self.request.write(b"")

    async def write(self, call: Call, message: bytes, /) -> None:
        """See `Context`."""
        if not self._sent_head:
            await self._start(call)
        await self.request.write(self.frame(call, message))

    async def answer(self, messages: Envelopes) -> None:
        """Run the call on the messages of the request."""
        if self.route.descriptor is None or self.route.descriptor.client_streaming:
            await self.run(messages)
        else:
            await self.run(await self.arrived(messages.single()))

    async def finish(self, call: Call, reply: bytes | None) -> None:
        """See `WebCall`."""
        end = self.end_frame(call)
        if reply is not None and call.error is None:
            if not self._sent_head:
                await self._start(call)
            end = self.frame(call, reply) + end
        elif not self._sent_head:
            await self._start(call)
        await self.request.write(end, end=True)

    async def _start(self, call: Call) -> None:
        headers = self.head(call)
        self._sent_head = True
        await self.request.start(headers)

    @property
    def sent_head(self) -> bool:
        """Whether the response has begun."""
        return self._sent_head

    def head(self, call: Call) -> Headers:
        """The headers of the response; chooses its encoding. Errors: ValueError."""
        raise NotImplementedError

    def frame(self, call: Call, message: bytes) -> bytes:
        """A message of the answer. Errors: ValueError for one that the codec cannot have."""
        return envelope(*self.packed(call, message))

    def end_frame(self, call: Call) -> bytes:
        """What ends the answer: the status and the trailing metadata. Errors: ValueError."""
        raise NotImplementedError

    def unpack(self, flags: int, message: bytes) -> bytes:
        """A message of the request. Errors: Error."""
        self.received_compressed: bool = flags == 1
        return unpack(flags, message, self.encoding, self.app.limits.max_message)
