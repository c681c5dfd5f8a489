"""Sending frames: one write a round, the client's windows, and turns for streams that wait.

A round's frames are collected and written at its end, all connections in a row (see WriteBuffer).
What a client does not take waits in its stream. Streams take turns of one frame, so that a large
response does not hold up the others. Frames that answer the client's own (acknowledgements, resets)
do not wait, so while the client reads nothing their number is limited.
"""

import asyncio
from collections import deque
from typing import Final

from paceline.http.server.http2.frames import (
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME,
    HEADERS,
    INTERNAL_ERROR,
    MAX_WINDOW,
    NO_ERROR,
    ConnectionFault,
    header_frames,
    rst_stream,
    window_update,
)
from paceline.http.server.http2.stream import Stream
from paceline.http.server.limits import ServerLimits
from paceline.http.server.state import SharedState

_MAX_COLLECTED: Final = 64 * 1024
_MAX_UNREAD_REPLIES: Final = 1_000
_MAX_KNOWN: Final = 1_024  # streams that this side has reset, remembered
_EARLY_ANSWER: Final = 0.5  # seconds for a client to end a request that has been answered


class FrameSender(asyncio.Protocol):
    """The half of a connection that sends."""

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.loop = loop
        self.limits: ServerLimits = state.limits
        self.client: tuple[str, int] | None = None
        self.streams: dict[int, Stream] = {}
        self.send_window: int = DEFAULT_WINDOW
        self.max_frame = DEFAULT_FRAME
        self.write_paused: bool = False
        self.transport: asyncio.Transport
        self.initial_window: int = DEFAULT_WINDOW
        self.stream_window: int = state.limits.stream_window
        self.read_deadline: float = 0.0
        self.unused_credit: int = 0
        self.credit_step: int = state.limits.connection_window >> 1
        self._at_end_of_round = state.write_buffer.at_end_of_round
        self._work = 0  # frames of responses sent
        self._collected: list[bytes] = []
        self._collected_size = 0
        self._ready: deque[Stream] = deque()
        self._starved: list[Stream] = []  # of the connection's window
        self._unread_replies = 0
        self._window = 0  # bytes of bodies that the client may send
        self._unfinished: set[asyncio.Task[None]] = set()  # tasks of streams that have ended
        self._reset: dict[int, None] = {}  # streams that this side has reset, in their order
        self._ended: deque[int] = deque(maxlen=128)  # streams that have ended otherwise
        self._closing = False  # whatever else arrives is discarded
        self._final = False  # no stream will be opened any more

    def write(self, data: bytes) -> None:
        """Send frames of a response at the end of the round; at once when they are many."""
        self._work += 1
        collected = self._collected
        if not collected:
            self._at_end_of_round(self.flush)
        collected.append(data)
        self._collected_size += len(data)
        if self._collected_size > _MAX_COLLECTED:
            self.flush()

    def write_control(self, data: bytes) -> None:
        """Send frames that are no part of a response."""
        self._work -= 1
        self.write(data)

    def flush(self) -> None:
        """Write what has been collected."""
        collected = self._collected
        if collected:
            data = collected[0] if len(collected) == 1 else b"".join(collected)
            self._collected = []
            self._collected_size = 0
            if not self.transport.is_closing():
                self.transport.write(data)

    def reply(self, data: bytes) -> None:
        """Send a frame that the client has provoked."""
        if self.write_paused:
            self._unread_replies += 1
            if self._unread_replies > _MAX_UNREAD_REPLIES:
                self.fail(ConnectionFault(ENHANCE_YOUR_CALM, "replies are not read"))
                return
        self.write_control(data)

    def fail(self, fault: ConnectionFault) -> None:
        """End the connection because of what the client did."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The client's socket takes no more."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self.write_paused = False
        self._unread_replies = 0
        self._send_ready()

    # What waits.

    def advance(self, stream: Stream) -> None:
        """See `StreamConnection`."""
        if not stream.queued:
            stream.queued = True
            self._ready.append(stream)
            self._send_ready()

    def _send_ready(self) -> None:
        ready = self._ready
        while ready and not self.write_paused:
            stream = ready.popleft()
            stream.queued = False
            if not stream.pending:
                continue
            kind, data, end = stream.pending[0]
            if kind == HEADERS:
                stream.pending.popleft()
                self.write(header_frames(stream.id, data, end=end, max_frame=self.max_frame))
                stream.sent += len(data)
            elif not self._send_part(stream, data, end=end):
                continue
            if stream.pending:
                stream.queued = True
                ready.append(stream)
            elif stream.ending:
                self.response_ended(stream)
            elif stream.waiting:
                stream.waiting = False
                if stream.handler is not None:
                    try:
                        stream.handler.writable()
                    except Exception as exc:  # noqa: BLE001 - as in `end_stream`
                        self.handler_failed(stream, exc)

    def _send_part(self, stream: Stream, data: bytes, *, end: bool) -> bool:
        """Send one frame of a body; whether its stream may go on."""
        left = len(data) - stream.offset
        size = min(left, self.max_frame, stream.send_window, self.send_window)
        if size <= 0 < left:
            if stream.send_window > 0:
                stream.queued = True
                self._starved.append(stream)
            return False
        part = data if size == len(data) else data[stream.offset : stream.offset + size]
        last = size == left
        self.write(
            FRAME.pack(size >> 8, size & 255, DATA, END_STREAM if end and last else 0, stream.id)
            + part
        )
        stream.send_window -= size
        self.send_window -= size
        stream.sent += size
        if last:
            stream.offset = 0
            if stream.pending:
                stream.pending.popleft()
        else:
            stream.offset += size
        return True

    def window_grown(self, size: int) -> None:
        """The client takes ``size`` bytes more on the connection."""
        self.send_window += size
        if self.send_window > MAX_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "the window is too large")
        if self._starved and self.send_window > 0:
            self._ready.extend(self._starved)
            self._starved.clear()
            self._send_ready()

    def stream_window_grown(self, stream: Stream, size: int) -> bool:
        """The client takes ``size`` bytes more on a stream; False: that is too many."""
        stream.send_window += size
        if stream.send_window > MAX_WINDOW:
            return False
        if stream.pending:
            self.advance(stream)
        return True

    # The ends of streams.

    def response_ended(self, stream: Stream) -> None:
        """See `StreamConnection`."""
        if stream.received:
            self._ended.append(stream.id)
            self.forget(stream)
        else:
            # The rest of the request is not wanted (RFC 9113 §8.1), but RST_STREAM right behind an
            # answer makes clients that are sending lose the answer.
            stream.closed = True
            stream.handler = None
            stream.pending = None
            stream.deadline = self.loop.time() + _EARLY_ANSWER
            self._release(stream)

    def forget(self, stream: Stream) -> None:
        """The stream is closed."""
        stream.closed = stream.ending = True
        streams = self.streams
        streams.pop(stream.id, None)
        if stream.pending:
            stream.pending = None
        if stream.held:
            self._release(stream)
        task = stream.task
        if task is not None and not task.done():
            self._unfinished.add(task)
        if self._final and not streams:
            self.close_when_done()

    def _release(self, stream: Stream) -> None:
        """Nobody will use what the stream has received."""
        held, stream.held = stream.held, 0
        self.discard(held)

    def refuse_rest(self, stream: Stream) -> None:
        """End a stream that was answered before its request was whole."""
        self._remember_reset(stream.id)
        self.write_control(rst_stream(stream.id, NO_ERROR))
        self.forget(stream)

    def close_when_done(self) -> None:
        """The last stream has ended, and no other will be opened."""
        raise NotImplementedError

    def reset_stream(self, stream: Stream, code: int) -> None:
        """See `StreamConnection`."""
        self.reject_stream(stream.id, code)
        self.forget(stream)

    def reject_stream(self, number: int, code: int) -> None:
        """Send RST_STREAM; frames that are on their way are then ignored."""
        self._remember_reset(number)
        self.reply(rst_stream(number, code))

    def end_stream(self, stream: Stream) -> None:
        """The client has ended the stream, or it is ended for another reason than its handler's."""
        handler, stream.handler = stream.handler, None
        self.forget(stream)
        if handler is not None:
            try:
                handler.closed()
            except Exception as exc:  # noqa: BLE001 - a handler's failure ends its stream only
                self.handler_failed(stream, exc)

    def handler_failed(self, stream: Stream, error: Exception) -> None:
        """End the stream whose handler has raised."""
        self.state.log.error("a handler failed", path=_text(stream.target), error=error)
        if not stream.closed:
            self.reject_stream(stream.id, INTERNAL_ERROR)
            self.end_stream(stream)

    def _remember_reset(self, number: int) -> None:
        self._reset[number] = None
        if len(self._reset) > _MAX_KNOWN:
            del self._reset[next(iter(self._reset))]

    # The client's sending.

    def give_back(self) -> None:
        """See `StreamConnection`."""
        credit, self.unused_credit = self.unused_credit, 0
        self._window += credit
        self.write_control(window_update(0, credit))

    def give_back_to(self, stream: Stream) -> None:
        """See `StreamConnection`."""
        credit, stream.credit = stream.credit, 0
        stream.window += credit
        self.write_control(window_update(stream.id, credit))

    def discard(self, size: int) -> None:
        """Bytes of a body have arrived that nobody uses."""
        self.unused_credit += size
        if self.unused_credit >= self.credit_step:
            self.give_back()


def _text(target: bytes) -> str:
    return target.partition(b"?")[0].decode("ascii", "backslashreplace")
