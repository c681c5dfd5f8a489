"""One client's HTTP/2 connection: its streams, deadlines, and an end that loses no request.

Deadlines are stored, never scheduled: the server's sweep calls `Http2Connection.check`. A graceful
end has two steps (RFC 9113 §6.8): a GOAWAY that only announces it, with a PING behind it, and, once
the client has answered that and so has read the announcement, a GOAWAY with the last stream that is
processed. What the client has sent before is answered.
"""

import asyncio
import contextvars
import random
from functools import lru_cache
from math import inf
from typing import Final, cast
from urllib.parse import unquote

from paceline.http.asgi import Scope
from paceline.http.server.http2.exchange import Exchange
from paceline.http.server.http2.frames import (
    CANCEL,
    DEFAULT_WINDOW,
    ENHANCE_YOUR_CALM,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM,
    NO_ERROR,
    NO_RFC7540_PRIORITIES,
    PING,
    SETTINGS_TIMEOUT,
    ConnectionFault,
    frame,
    goaway,
    settings_frame,
    window_update,
)
from paceline.http.server.http2.reader import MAX_ALLOWANCE, MAX_RESETS, FrameReader
from paceline.http.server.http2.response_head import problem_head
from paceline.http.server.http2.stream import Stream
from paceline.http.server.refusals import RequestRejected, headers_too_large, target_too_long
from paceline.http.server.request_target import split_target
from paceline.http.server.state import SharedState
from paceline.http.server.streams import StreamHandler
from paceline.http.server.transports import client_address, server_address
from paceline.http.server.transports import scheme as scheme_of

_ANNOUNCED: Final = b"goingawy"
_ALIVE: Final = b"stillup?"
_ANNOUNCEMENT: Final = 1.0  # seconds for the client to read that the connection will end
_ALLOWANCE_RATE: Final = 100  # frames without use a second
_RESET_RATE: Final = 33  # a second
_AGE_SPREAD: Final = 0.1
_MIN_TAKEN: Final = 4_096  # bytes that a client must take in the write timeout
_MAX_EARLY_PINGS: Final = 3
_CLEAN_LINGER: Final = 0.3  # seconds, where the client has nothing left to send or to be told
_LAST_STREAMS: Final = MAX_STREAM - 2_000  # from here on the numbers of streams run out
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Http2Connection(FrameReader):
    """The protocol of one connection, from accept to close."""

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(state, loop)
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        self._born = self._checked = self._last_heard = self._idle_since = 0.0
        self._seen = 0  # the last stream at the last check
        self._ping_sent = inf
        self._final_at = inf
        self._age_ends = inf
        self._cut_at = inf
        self._linger_until = inf
        self._announced = False
        self._ping_at = -inf  # of the client's last PING
        self._work_at_ping = 0
        self._early_pings = 0
        self._stuck_since = inf
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client."""
        # uvloop's is no Transport by its type.
        self.transport: asyncio.Transport = cast("asyncio.Transport", transport)
        self.client: tuple[str, int] | None = client_address(transport)
        self._server = server_address(transport)
        self._scheme = scheme_of(transport)
        limits = self.limits
        now = self.loop.time()
        self._born = self._checked = self._last_heard = self._idle_since = now
        if limits.max_connection_age is not None:
            # A part of it by chance: connections that began together do not all end together.
            part = 1 - random.random() * _AGE_SPREAD  # noqa: S311 - guards nothing
            self._age_ends = now + part * limits.max_connection_age
        self._window = limits.connection_window
        settings = {
            MAX_CONCURRENT_STREAMS: limits.max_streams,
            INITIAL_WINDOW_SIZE: limits.stream_window,
            MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
            NO_RFC7540_PRIORITIES: 1,
        }
        growth = self._window - DEFAULT_WINDOW
        self.write_control(settings_frame(settings) + (window_update(0, growth) if growth else b""))
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface's
        """Cancel the requests that are being answered."""
        self._closing = self._final = True
        self._collected.clear()
        self._end_streams()
        for task in self._unfinished:
            if not task.done():
                self.state.keep(task)
        self._unfinished.clear()
        self.state.connections.discard(self)
        self.state.changed.set()

    def _end_streams(self) -> None:
        for stream in tuple(self.streams.values()):
            self.end_stream(stream)

    def open_asgi(self, stream: Stream) -> StreamHandler | None:
        """See `FrameReader`."""
        limits, state = self.limits, self.state
        method = stream.method
        try:
            if len(stream.target) > limits.max_target_bytes:
                raise target_too_long(limits)
            text, path, query = _split(method, stream.target)
        except RequestRejected as reason:
            self._problem(stream, reason)
            return None
        if state.admission_check is not None:
            rejection = state.admission_check.rejection(method, text)
            if rejection is not None:
                body = b"" if method == "HEAD" else rejection.body
                stream.respond(rejection.http2, body, b"")
                return None
        headers = stream.headers.copy()
        if stream.authority:
            headers.insert(0, (b"host", stream.authority))
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "2",
            "server": self._server,
            "client": self.client,
            "scheme": self._scheme,
            "method": method,
            "root_path": "",
            "path": text,
            "raw_path": path,
            "query_string": query,
            "headers": headers,
            "state": {},
            "extensions": {"http.response.trailers": {}},
        }
        exchange = Exchange(
            state,
            stream,
            scope,
            write_deadline=self._now + limits.write_timeout,
            expects_continue=not stream.received
            and any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in headers
            ),
        )
        # An empty context: a request must not inherit what was ambient at the server's start.
        stream.task = self.loop.create_task(exchange.run(state.app), context=contextvars.Context())
        return exchange

    def refuse_large_head(self, stream: Stream) -> None:
        """See `FrameReader`."""
        self._problem(stream, headers_too_large(self.limits))

    def _problem(self, stream: Stream, reason: RequestRejected) -> None:
        head, body = problem_head(reason, self.state.date_field)
        stream.respond(head, b"" if stream.method == "HEAD" else body, b"")

    # Deadlines.

    def check(self, now: float) -> None:
        """End what is past its deadline; ``now`` is the loop's time."""
        elapsed, self._checked = now - self._checked, now
        if self._closing:
            if now > self._linger_until:
                self.transport.abort()
            return
        self._allowance = min(MAX_ALLOWANCE, self._allowance + int(elapsed * _ALLOWANCE_RATE) + 1)
        self._resets_allowed = min(
            MAX_RESETS, self._resets_allowed + int(elapsed * _RESET_RATE) + 1
        )
        if self._block is not None and now > self._block_deadline:
            self.fail(ConnectionFault(ENHANCE_YOUR_CALM, "a header block does not end"))
            return
        if self._is_stuck(now):
            self.state.log.warning("a client reads nothing", streams=len(self.streams))
            self.abort()
            return
        for stream in tuple(self.streams.values()):
            if not stream.closed:
                self._check_stream(stream, now)
            elif now > stream.deadline:
                self.refuse_rest(stream)
        self._check_age(now)
        if not self._closing:
            self._check_silence(now)

    def _check_stream(self, stream: Stream, now: float) -> None:
        handler = stream.handler
        if not stream.received and now > stream.deadline:
            if isinstance(handler, Exchange):
                stream.deadline = inf
                handler.request_timed_out()
            else:
                self.reject_stream(stream.id, CANCEL)
                self.end_stream(stream)
            return
        taken = stream.sent - stream.seen
        if stream.pending and taken < _MIN_TAKEN and stream.stuck_since:
            late = now > stream.stuck_since + self.limits.write_timeout
        else:
            stream.seen = stream.sent
            stream.stuck_since = now if stream.pending else 0.0
            late = False
        if isinstance(handler, Exchange):
            if late or (now > handler.write_deadline and not handler.streaming):
                handler.response_timed_out()
        elif late:
            self.reject_stream(stream.id, CANCEL)
            self.end_stream(stream)

    def _is_stuck(self, now: float) -> bool:
        """Whether the client's socket has taken nothing for the write timeout."""
        unsent = self.transport.get_write_buffer_size()
        if not self.write_paused or unsent != self._unsent:
            self._stuck_since = now
            self._unsent = unsent
        return now > self._stuck_since + self.limits.write_timeout

    def _check_age(self, now: float) -> None:
        if self._announced:
            if now > self._final_at:
                self._finish()
            elif now > self._cut_at:
                self.abort()
        elif now > self._age_ends:
            self._cut_at = now + self.limits.max_connection_age_grace
            self.end_after_response()
        elif self.state.stopping or self._last > _LAST_STREAMS:
            self.end_after_response()

    def _check_silence(self, now: float) -> None:
        limits = self.limits
        if self.streams or self._last != self._seen:
            self._seen = self._last
            self._idle_since = now
        elif now > self._idle_since + limits.idle_timeout:
            self._finish()
            return
        if not self.settings_acknowledged and now > self._born + limits.keepalive_timeout:
            self.fail(ConnectionFault(SETTINGS_TIMEOUT, "SETTINGS are not acknowledged"))
        elif self._heard:
            self._heard = False
            self._last_heard = now
            self._ping_sent = inf
        elif now > self._ping_sent + limits.keepalive_timeout:
            self.abort()
        elif self._ping_sent == inf and now > self._last_heard + limits.keepalive:
            self._ping_sent = now
            self.write_control(frame(PING, 0, 0, _ALIVE))

    def ping_received(self) -> None:
        """Refuse a client that pings too often while nothing is sent to it.

        Clients of gRPC measure the bandwidth by a PING beside the DATA that they receive.
        """
        if self._work != self._work_at_ping:
            self._work_at_ping = self._work
            self._early_pings = 0
        elif self._now < self._ping_at + self.limits.min_ping_interval:
            self._early_pings += 1
            if self._early_pings > _MAX_EARLY_PINGS:
                raise ConnectionFault(ENHANCE_YOUR_CALM, "too_many_pings")
        self._ping_at = self._now

    def ping_acknowledged(self, payload: bytes) -> None:
        """See `FrameReader`."""
        if payload == _ANNOUNCED and self._announced and not self._final:
            self._finish()

    # The end.

    def fail(self, fault: ConnectionFault) -> None:
        """See `FrameSender`."""
        if self._closing:
            return
        self.state.log.info("connection ended", reason=fault.text, code=fault.code)
        self._end_streams()
        self.write_control(goaway(self._processed, fault.code, fault.text))
        self._linger(self.limits.linger)

    def end_after_response(self) -> None:
        """Tell the client that the connection will end; what it has sent is answered."""
        if self._announced or self._closing:
            return
        self._announced = True
        self._final_at = self.loop.time() + _ANNOUNCEMENT
        self.write_control(goaway(MAX_STREAM, NO_ERROR, "") + frame(PING, 0, 0, _ANNOUNCED))

    def _finish(self) -> None:
        """Take no more streams, and close after those that there are."""
        self._final_at = inf
        if self._final or self._closing:
            return
        self._announced = self._final = True
        self.write_control(goaway(self._processed, NO_ERROR, ""))
        if not self.streams:
            self.close_when_done()

    def close_when_done(self) -> None:
        """See `FrameSender`."""
        if not self._closing:
            self._linger(min(_CLEAN_LINGER, self.limits.linger))

    def close_if_idle(self) -> None:
        """Announce the end; the client's answer to that closes an idle connection."""
        self.end_after_response()

    def _linger(self, seconds: float) -> None:
        """Close once the client has read: closing with unread data would destroy the answer."""
        self._closing = self._final = True
        self.flush()
        if self.transport.is_closing():
            return
        self._linger_until = self.loop.time() + seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def abort(self) -> int:
        """Close at once; how many requests were cut off."""
        self.flush()
        cut = sum(not stream.closed for stream in self.streams.values())
        if not cut and self.transport.get_write_buffer_size():
            cut = 1
        self._closing = self._final = True
        self._end_streams()
        self.transport.abort()
        return cut


@lru_cache(maxsize=256)
def _split(method: str, target: bytes) -> tuple[str, bytes, bytes]:
    """Path, path as it came, and query of a target. Errors: RequestRejected."""
    path, query, _ = split_target(method, target)
    text = path.decode("ascii")
    return unquote(text) if "%" in text else text, path, query
