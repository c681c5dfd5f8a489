"""One request of an ASGI app and its response, as far as no version of HTTP plays a part.

The body as it arrives, the wait for more of it, the length that an app has promised, and what
becomes of a request whose app fails.
"""

import asyncio
from typing import Final

from paceline.http.asgi import ASGIApp, Message, Scope
from paceline.http.server.refusals import RequestRejected, internal_error, too_many_uploads
from paceline.http.server.state import SharedState

# Plain numbers: an enum's member is looked up slowly.
NO_CONTENT: Final = 204
WITHOUT_BODY: Final = frozenset({204, 304})


class BaseExchange:
    """The state of one request, from the end of its headers to the end of its response.

    It is the app's ``receive`` by that name, and its ``send`` when it is called.
    """

    __slots__ = (
        "_awaits_trailers", "_changed", "_delivered", "_head", "_remaining", "_state", "_taken",
        "_trailers", "body", "complete", "disconnected", "expects_continue", "more_body", "scope",
        "sent", "streaming",
    )  # fmt: skip

    def __init__(self, state: SharedState, scope: Scope, expects_continue: bool) -> None:  # noqa: FBT001 - keywords cost each request
        self.scope: Scope = scope
        self.expects_continue: bool = expects_continue
        self.body: bytes | bytearray = b""
        self.more_body: bool = True
        self.disconnected: bool = False  # the client does not receive any more
        self.sent: bool = False  # a part of the response has been written
        self.complete: bool = False
        self.streaming: bool = False  # it may last as long as the client reads
        self._state = state
        self._changed: asyncio.Event | None = None
        self._delivered = False
        self._taken = 0  # bytes of the body that the app has, before it answers
        self._head: bytes | None = None
        self._remaining: int | None = None  # bytes of the response still to come, if known
        self._trailers: list[bytes] | None = None  # encoded, if the app sends any
        self._awaits_trailers = False  # the body is whole

    async def run(self, app: ASGIApp) -> None:
        """Call the app; however it ends, the request is answered or cut off."""
        try:
            await app(self.scope, self.receive, self)
        except asyncio.CancelledError as exc:
            self._failed(exc)
            raise
        except Exception as exc:  # noqa: BLE001 - any failure of an app is answered
            self._failed(exc)
        else:
            if not self.complete:
                self._failed(RuntimeError("the app sent no complete response"))

    def _failed(self, error: BaseException) -> None:
        """Answer for an app that did not, if the client is connected and nothing was sent."""
        path: str = self.scope["path"]
        log = self._state.log
        if self.complete:
            if isinstance(error, Exception):
                log.error("failed after the response", path=path, error=error)
        elif self.disconnected:
            pass
        elif self.sent:
            # The app's middleware has logged the error. A torn body must not pass for a whole one.
            log.warning("response cut short", path=path, reason=type(error).__name__)
            self._cut_off()
        else:
            log.error("request failed without an answer", path=path, error=error)
            self._refuse(internal_error())

    def add_body(self, data: bytes) -> None:
        """Keep a piece of the request's body until `receive`."""
        if not self.body:
            self.body = data
        elif isinstance(self.body, bytearray):
            self.body += data
        else:
            self.body = bytearray(self.body) + data
        self.wake()

    def end_body(self) -> None:
        """The request is whole."""
        self.more_body = False
        self.wake()

    def wake(self) -> None:
        """Make those who wait check the state again."""
        if self._changed is not None:
            self._changed.set()

    async def _change(self) -> None:
        """Wait for `wake`."""
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    async def _upload(self) -> None:
        """Wait for more of the body; refuse the request if there is no room for one more wait."""
        uploads = self._state.uploads
        held = 0 if self.sent else self._taken  # an app that answers meanwhile holds nothing
        if not uploads.has_room(held):
            self._give_up(too_many_uploads())
            return
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await uploads.wait(self.scope, held, self._changed)

    def _counted(self, body: bytes, left: int, *, more: bool) -> bytes:
        """What is sent of a part of the body, of which ``left`` bytes were to come."""
        if left < 0:  # HEAD, 204, 304: the body is not sent
            return b""
        self._remaining = left - len(body)
        if self._remaining < 0:
            raise RuntimeError("the response is longer than its content-length")
        if self._remaining and not more:
            raise RuntimeError("the response is shorter than its content-length")
        return body

    # What depends on the version of HTTP.

    async def receive(self) -> Message:
        """The next piece of the body, or http.disconnect when no answer can be sent."""
        raise NotImplementedError

    async def __call__(self, message: Message) -> None:
        """Send a part of the response; waits while the client does not read."""
        raise NotImplementedError

    def _refuse(self, reason: RequestRejected) -> None:
        """Answer in place of the app."""
        raise NotImplementedError

    def _give_up(self, reason: RequestRejected) -> None:
        """End a request that is not whole: its app's task, too."""
        raise NotImplementedError

    def _cut_off(self) -> None:
        """End a response that is not whole so that its client notices."""
        raise NotImplementedError
