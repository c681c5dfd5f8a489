"""One client's connection: requests answered in turn, and nothing outlives the client.

Times are stored, never scheduled: a request costs two floats, and the server's sweep calls
`HttpConnection.check`. When the client goes away its handler's task is cancelled, like Go's request
context. Answers never leave out of order: what is refused while others are being answered ends
the connection after them. Made by ``server`` for each accepted socket; ``reading`` is its other
half.
"""

import asyncio
import contextvars
import select
from http import HTTPStatus
from math import inf

from uvicorn.config import Config

from paceline.http.server.exchange import Exchange
from paceline.http.server.head import Refused, problem_response
from paceline.http.server.request_reader import RequestReader
from paceline.http.server.state import State


class HttpConnection(RequestReader):
    """The protocol of one connection, from accept to close."""

    def __init__(self, config: Config, state: State, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, loop)
        self._task: asyncio.Task[None] | None = None
        self._write_deadline = inf
        self._taken = 0  # bytes of a stream that the client's side has taken

    def connection_made(  # type: ignore[override]  # as in the base: TCP gives both directions
        self, transport: asyncio.Transport
    ) -> None:
        """Accept a client."""
        super().connection_made(transport)
        self._read_deadline = self.loop.time() + self._limits.idle_timeout

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the client: nobody waits for its requests any more."""
        super().connection_lost(exc)
        self._waiting.clear()
        self._cancel()
        if self._task is not None and not self._task.done():
            self.state.adopt(self._task)
        self.state.changed.set()

    def _cancel(self) -> None:
        """Cancel the request that is being answered; it cannot write any more."""
        exchange, self._running = self._running, None
        if exchange is None:
            return
        exchange.gone = True
        exchange.wake()
        self.flow.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        self._taken = 0
        self._write_deadline = self.loop.time() + self._limits.write_timeout
        if self._task is not None and not self._task.done():
            self.state.adopt(self._task)  # it answered and goes on for itself
        # An empty context: a task must not inherit what was ambient when the server started.
        self._task = self.loop.create_task(
            exchange.run(self.state.app), context=contextvars.Context()
        )

    def finished(self, exchange: Exchange) -> None:
        """Go on with the next request, or wait for it, or close."""
        self._running = None
        if not exchange.keep_alive:
            self._waiting.clear()
            if exchange.more_body or self._deaf:
                self._linger()
            else:
                self._close()
            return
        if self._waiting:
            self._start(self._waiting.pop(0))
        else:
            limits = self._limits
            allowed = limits.read_timeout if self._parsing else limits.idle_timeout
            self._read_deadline = self.loop.time() + allowed
        if not self._waiting:
            self.flow.resume_reading()

    def failed(self, exchange: Exchange, error: BaseException) -> None:
        """Answer for an app that did not, if anybody listens and nothing was sent."""
        path: str = exchange.scope["path"]
        if exchange.complete:
            if isinstance(error, Exception):
                self.state.log.error("failed after the response", path=path, error=error)
        elif exchange.gone:
            pass
        elif exchange.sent:
            # The app's own middleware saw the error; a torn body must not pass for a whole one.
            self.state.log.warning("response cut short", path=path, reason=type(error).__name__)
            self._cancel()
            self.transport.abort()
        else:
            self.state.log.error("request failed without an answer", path=path, error=error)
            self._answer(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error"))

    def _refuse(self, reason: Refused) -> None:
        """End the connection over the request that is being read, after those before it."""
        running = self._running
        self._deaf = True
        self._parsing = False
        if running is None:
            self._answer(reason)
        elif running is self._latest and running.more_body:
            if running.sent:
                self._cancel()
                self.transport.abort()
            else:
                self._answer(reason)
        else:
            last = self._waiting[-1] if self._waiting else running
            last.keep_alive = False

    def _turn_away(self, response: bytes) -> None:
        """Answer a request that has no exchange, and wait for the next one."""
        now = self.loop.time()
        self._write_deadline = now + self._limits.write_timeout
        self._read_deadline = now + self._limits.idle_timeout
        self.state.outbox.write(self.transport, response)
        if self.state.stopping:
            self._close()

    def _answer(self, reason: Refused) -> None:
        self._cancel()
        self._waiting.clear()
        self._write_deadline = self.loop.time() + self._limits.write_timeout
        if not self.transport.is_closing():
            response = problem_response(reason.status, reason.detail, self.state.date_line)
            self.state.outbox.settle(self.transport)
            self.transport.write(response)
            self._linger()

    def _linger(self) -> None:
        """Close once the client has seen the answer: closing on unread data would destroy it."""
        self._deaf = True
        self._parsing = False
        if self.transport.is_closing():
            return
        self._read_deadline = self.loop.time() + self._limits.linger
        self.flow.resume_reading()
        self.state.outbox.settle(self.transport)
        self.transport.write_eof()

    def _close(self) -> None:
        self.state.outbox.settle(self.transport)
        self.transport.close()

    def check(self, now: float) -> None:
        """End what took too long."""
        running = self._running
        if running is not None and running.stream:
            self._watch(running, now)
        if now > self._write_deadline and (running or self.transport.get_write_buffer_size()):
            path = running.scope["path"] if running else None
            seconds = self._limits.write_timeout
            self.state.log.warning("response took too long", path=path, write_timeout=seconds)
            self._cancel()
            self.transport.abort()
        elif now <= self._read_deadline:
            return
        elif self._parsing and (running is None or (running is self._latest and running.more_body)):
            self._refuse(Refused(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive"))
        elif running is None:
            self._close()

    def _watch(self, stream: Exchange, now: float) -> None:
        """Give a stream new time as long as its client takes what there is."""
        behind = self.transport.get_write_buffer_size()
        taken = stream.written - behind
        if not behind or taken > self._taken:
            self._taken = taken
            self._write_deadline = now + self._limits.write_timeout

    def end_after_answer(self) -> None:
        """Let what is under way be the last; the next request is, when there is nothing."""
        for exchange in (self._running, *self._waiting):
            if exchange is not None:
                exchange.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is under way or has come and was not read yet."""
        if self._running is None and not self._parsing and not _has_data(self.transport):
            self._close()

    def abort(self) -> bool:
        """Close at once; True when a request was cut off."""
        self.state.outbox.settle(self.transport)
        busy = self._running is not None or self.transport.get_write_buffer_size() > 0
        self._cancel()
        self.transport.abort()
        return busy


def _has_data(transport: asyncio.Transport) -> bool:
    """Whether the kernel holds something of the client's: to close now would throw it away."""
    opened = transport.get_extra_info("socket")
    if opened is None or opened.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(opened.fileno(), select.POLLIN)
    return bool(poll.poll(0))
