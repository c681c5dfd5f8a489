"""One client's connection: requests answered in turn, and no request outlives its client.

Deadlines are stored, never scheduled: a request costs two floats, and the server's sweep calls
`HttpConnection.check`. When the client disconnects, its handler's task is cancelled, like Go's
request context. Answers are never sent out of order: a request that is rejected while others are
being answered ends the connection after them.
"""

import asyncio
import contextvars
from math import inf

from paceline.http.server.http1.exchange import Exchange
from paceline.http.server.http1.head import problem_response
from paceline.http.server.http1.reader import RequestReader
from paceline.http.server.refusals import RequestRejected, too_slow
from paceline.http.server.state import SharedState
from paceline.http.server.transports import has_unread_data


class HttpConnection(RequestReader):
    """The protocol of one connection, from accept to close."""

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(state, loop)
        self._task: asyncio.Task[None] | None = None
        self._write_deadline = inf
        self._stream_sent = 0  # bytes of a stream that the kernel has taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client."""
        super().connection_made(transport)
        self.state.connections.add(self)
        self._read_deadline = self.loop.time() + self._limits.idle_timeout

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request that is being answered, and drop those that wait."""
        super().connection_lost(exc)
        self.state.connections.discard(self)
        self._waiting.clear()
        self._cancel()
        if self._task is not None and not self._task.done():
            self.state.keep(self._task)
        self.state.changed.set()

    def _cancel(self) -> None:
        """Cancel the request that is being answered; it writes no more."""
        exchange, self._running = self._running, None
        if exchange is None:
            return
        self.state.answering -= 1
        exchange.disconnected = True
        exchange.wake()
        self.flow.resume_writing()
        if self._task is not None:
            self._task.cancel()

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        self.state.answering += 1
        self._stream_sent = 0
        self._write_deadline = self.loop.time() + self._limits.write_timeout
        if self._task is not None and not self._task.done():
            self.state.keep(self._task)  # it has answered, and is still running
        # An empty context: a request must not inherit what was ambient at the server's start.
        self._task = self.loop.create_task(
            exchange.run(self.state.app), context=contextvars.Context()
        )

    def finished(self, exchange: Exchange) -> None:
        """Go on with the next request, or wait for it, or close."""
        self._running = None
        self.state.answering -= 1
        if not exchange.keep_alive:
            self._waiting.clear()
            if exchange.more_body or self._discarding:
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

    def expect_body(self, *, waiting: bool) -> None:
        """See `ResponseTransport`."""
        self._read_deadline = self.loop.time() + self._limits.idle_timeout if waiting else inf

    def cut_off(self) -> None:
        """See `ResponseTransport`."""
        self._cancel()
        self.transport.abort()

    def _reject(self, reason: RequestRejected) -> None:
        """End the connection because of the request being read, after those before it."""
        running = self._running
        self._discarding = True
        self._parsing = False
        if running is None:
            self.answer(reason)
        elif running is self._latest and running.more_body:
            if running.sent:
                self.cut_off()
            else:
                self.answer(reason)
        else:
            last = self._waiting[-1] if self._waiting else running
            last.keep_alive = False

    def _send_rejection(self, response: bytes) -> None:
        """Answer a request that the admission check rejected, and wait for the next one."""
        now = self.loop.time()
        self._write_deadline = now + self._limits.write_timeout
        self._read_deadline = now + self._limits.idle_timeout
        self.state.write_buffer.write(self.transport, response)
        if self.state.stopping:
            self._close()

    def answer(self, reason: RequestRejected) -> None:
        """See `ResponseTransport`."""
        self._cancel()
        self._waiting.clear()
        self._write_deadline = self.loop.time() + self._limits.write_timeout
        if not self.transport.is_closing():
            response = problem_response(reason, self.state.date_line)
            self.state.write_buffer.flush(self.transport)
            self.transport.write(response)
            self._linger()

    def _linger(self) -> None:
        """Close once the client has the answer: closing with unread data would destroy it.

        TLS cannot close one direction only; its clients close when they have the whole answer.
        """
        self._discarding = True
        self._parsing = False
        if self.transport.is_closing():
            return
        self._read_deadline = self.loop.time() + self._limits.linger
        self.flow.resume_reading()
        self.state.write_buffer.flush(self.transport)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _close(self) -> None:
        self.state.write_buffer.flush(self.transport)
        self.transport.close()

    def check(self, now: float) -> None:
        """End what is past its deadline; ``now`` is the loop's time."""
        running = self._running
        if running is not None and running.streaming:
            self._extend_write_deadline(running, now)
        if now > self._write_deadline and (running or self.transport.get_write_buffer_size()):
            path = running.scope["path"] if running else None
            seconds = self._limits.write_timeout
            self.state.log.warning("response took too long", path=path, write_timeout=seconds)
            self.cut_off()
        elif now <= self._read_deadline:
            return
        elif self._parsing and (running is None or (running is self._latest and running.more_body)):
            self._reject(too_slow())
        elif running is None:
            self._close()

    def _extend_write_deadline(self, stream: Exchange, now: float) -> None:
        """Extend a stream's deadline as long as its client reads."""
        unsent = self.transport.get_write_buffer_size()
        sent = stream.written - unsent
        if not unsent or sent > self._stream_sent:
            self._stream_sent = sent
            self._write_deadline = now + self._limits.write_timeout

    def end_after_response(self) -> None:
        """Close after the current request; after the next one, when there is none."""
        for exchange in (self._running, *self._waiting):
            if exchange is not None:
                exchange.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is under way or waits in the kernel."""
        if self._running is None and not self._parsing and not has_unread_data(self.transport):
            self._close()

    def abort(self) -> bool:
        """Close at once; whether a request was cut off."""
        self.state.write_buffer.flush(self.transport)
        busy = self._running is not None or self.transport.get_write_buffer_size() > 0
        self._cancel()
        self.transport.abort()
        return busy
