"""Reading frames: each one is checked against the state of its stream (RFC 9113 §5.1, §6).

One pass over what has arrived, without an object a frame. Heads of requests are remembered by their
bytes as long as the compression's table is the same: a client that sends a head again costs a
look-up. A connection has room for a few; more of them are in the server's `HeadCache`. What clients
could send without end has a limit: frames that make no progress draw on an allowance that answers
and time fill again, as resets do on theirs.
"""

import asyncio
from typing import Final

from paceline.http.asgi import Headers
from paceline.http.server.http2.frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME,
    FRAME_HEADER,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ConnectionFault,
    frame,
    read_settings,
)
from paceline.http.server.http2.frames import DEFAULT_FRAME as LARGEST
from paceline.http.server.http2.head_cache import HeadCache
from paceline.http.server.http2.hpack import (
    CompressionError,
    FieldDecoder,
    FieldsTooLarge,
    indexed_run,
)
from paceline.http.server.http2.request_head import (
    MalformedRequest,
    PartialHead,
    RequestHead,
    check_trailers,
    read_head,
)
from paceline.http.server.http2.sender import FrameSender
from paceline.http.server.http2.stream import Stream
from paceline.http.server.preface import PREFACE
from paceline.http.server.state import SharedState
from paceline.http.server.streams import StreamHandler

_NUMBER: Final = 0x7FFF_FFFF  # without the reserved bit
_MAX_CONTINUATIONS: Final = 32
_MAX_HEADS: Final = 64  # remembered, and how large they are: a block may name large entries often
_MAX_BLOCK: Final = 1_024
_MAX_HEAD: Final = 16_384
_MAX_BEGINNINGS: Final = (
    16  # of heads, the same for several requests, and how many fields they have
)
_MIN_BEGINNING: Final = 3
_MAX_BEGINNING: Final = 64
MAX_ALLOWANCE: Final = 1_000
_WORTH: Final = 8  # frames without use that may come with one that we have sent of a response
MAX_RESETS: Final = 1_000
_NO_TRAILERS: Final[Headers] = []
_PRIORITY_SIZE: Final = 5
_MAX_SETTINGS_SIZE: Final = 32 * 6  # of a frame: 32 settings, five times what there are


class FrameReader(FrameSender):
    """The half of a connection that receives."""

    def __init__(self, state: SharedState, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(state, loop)
        limits = state.limits
        self._decoder = FieldDecoder(
            max_list=limits.max_header_bytes + 32 * limits.max_headers,
            max_fields=limits.max_headers,
        )
        self._open_handler = None if state.streams is None else state.streams.open
        self._max_streams = limits.max_streams
        self._read_timeout = limits.read_timeout
        if state.head_cache is None:
            state.head_cache = HeadCache()
        self._head_cache = state.head_cache
        self._heads: dict[bytes, RequestHead] = {}
        self._table = 0  # its number in the cache; 0: not asked for
        self._beginnings: dict[bytes, tuple[Headers, PartialHead]] = {}
        self._generation = self._decoder.generation
        self._rest = bytearray()
        self._needed = len(PREFACE)
        self._in_preface = True
        self._settings_received = False
        self.settings_acknowledged: bool = False
        self._block: bytearray | None = None  # a header block that is not whole
        self._block_stream = 0
        self._block_flags = 0
        self._block_frames = 0
        self._block_deadline = 0.0
        self._last = 0  # the highest stream that the client has opened
        self._processed = 0  # the highest one that is processed: for GOAWAY
        self._allowance = MAX_ALLOWANCE  # frames without use that the client may still send
        self._work_counted = 0
        self._resets_allowed = MAX_RESETS
        self._heard = False
        self._now = 0.0

    def data_received(self, data: bytes) -> None:
        """Read the frames that have arrived."""
        if self._closing:
            return
        self._heard = True
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return
            data = bytes(rest)
            rest.clear()
        self._now = now = self.loop.time()
        self.read_deadline: float = now + self._read_timeout
        try:
            start = self._read_preface(data) if self._in_preface else 0
            if not self._in_preface:
                start = self._read(data, start)
        except ConnectionFault as fault:
            self.fail(fault)
            return
        if start < len(data):
            rest += data[start:] if start else data

    def _read_preface(self, data: bytes) -> int:
        size = len(PREFACE)
        if not data.startswith(PREFACE[: len(data)] if len(data) < size else PREFACE):
            raise ConnectionFault(PROTOCOL_ERROR, "this is not HTTP/2")
        if len(data) < size:
            return 0
        self._in_preface = False
        return size

    def _read(self, data: bytes, position: int) -> int:  # noqa: C901, PLR0912 - one pass
        """Read all whole frames; where the next one starts."""
        unpack = FRAME.unpack_from
        streams = self.streams
        size = len(data)
        last = size - FRAME_HEADER
        while position <= last:
            high, low, kind, flags, number = unpack(data, position)
            length = high << 8 | low
            if length > LARGEST:
                raise ConnectionFault(FRAME_SIZE_ERROR, "a frame is too large")
            start = position + FRAME_HEADER
            end = start + length
            if end > size:
                self._needed = FRAME_HEADER + length
                return position
            position = end
            number &= _NUMBER
            if self._block is not None:
                if kind != CONTINUATION or number != self._block_stream:
                    raise ConnectionFault(PROTOCOL_ERROR, "a header block is interrupted")
                self._continuation(flags, data[start:end])
            elif kind == DATA:
                stream = streams.get(number)
                if stream is None or stream.received:
                    self._data_in_vain(stream, number, length)
                elif flags & PADDED:
                    payload = _unpadded(data[start:end])
                    self._data(stream, payload, length, flags & END_STREAM)
                else:
                    self._data(stream, data[start:end], length, flags & END_STREAM)
            elif kind == HEADERS:
                if not self._settings_received:
                    raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS must be the first frame")
                if flags & END_HEADERS and not flags & (PADDED | WITH_PRIORITY):
                    self._headers(number, data[start:end], flags)
                else:
                    self._partial_headers(number, data[start:end], flags)
            else:
                self._other(kind, flags, number, data[start:end])
            if self._closing:
                return size
        self._needed = FRAME_HEADER
        return position

    # Bodies.

    def _data(  # noqa: C901 - one call a frame
        self, stream: Stream, payload: bytes, length: int, end: int
    ) -> None:
        """DATA on an open stream; ``length`` counts the padding, too."""
        if length > self._window:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more DATA than the window allows")
        self._window -= length
        if length > stream.window:
            self.discard(length)
            self._stream_fault(stream, FLOW_CONTROL_ERROR)
            return
        size = len(payload)
        stream.window -= length
        if stream.closed:
            self._data_after_answer(stream, size, length, end)
            return
        stream.held += length
        if end:
            stream.received = True
        if length > size:
            stream.consume(length - size)
        remaining = stream.remaining
        if remaining >= 0:
            remaining -= size
            if remaining < 0 or (end and remaining):
                self._stream_fault(stream, PROTOCOL_ERROR)
                return
            stream.remaining = remaining
        handler = stream.handler
        if not size and not end:
            self._spend("empty DATA frames")
            return
        if handler is None:
            return
        try:
            if size:
                handler.data_received(payload)
            if end and not stream.closed:
                handler.end_received(_NO_TRAILERS)
        except Exception as exc:  # noqa: BLE001 - a handler's failure ends its stream only
            self.handler_failed(stream, exc)

    def _data_after_answer(self, stream: Stream, size: int, length: int, end: int) -> None:
        """DATA that nobody wants any more; its stream's window stays as it is."""
        self.discard(length)
        if stream.remaining >= 0:
            stream.remaining -= size
            if stream.remaining < 0 or (end and stream.remaining):
                self._stream_fault(stream, PROTOCOL_ERROR)
                return
        if end:
            self._request_ended(stream, _NO_TRAILERS)
        elif stream.window <= 0:
            self.refuse_rest(stream)
        elif not length:
            self._spend("empty DATA frames")

    def _request_ended(self, stream: Stream, trailers: Headers) -> None:
        """A request is whole that had no content in its last frame, or was answered before."""
        stream.received = True
        if stream.closed:
            self._ended.append(stream.id)
            self.forget(stream)
        elif stream.handler is not None:
            try:
                stream.handler.end_received(trailers)
            except Exception as exc:  # noqa: BLE001 - as above
                self.handler_failed(stream, exc)

    def _data_in_vain(self, stream: Stream | None, number: int, length: int) -> None:
        """DATA on a stream that takes none."""
        if number == 0 or (stream is None and self._is_idle(number)):
            raise ConnectionFault(PROTOCOL_ERROR, "DATA on a stream that is not open")
        if length > self._window:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more DATA than the window allows")
        self._window -= length
        self.discard(length)
        if stream is not None:
            self._stream_fault(stream, STREAM_CLOSED)
        elif number not in self._reset and number <= self._processed:
            raise ConnectionFault(STREAM_CLOSED, "DATA on a closed stream")
        else:
            self._spend("DATA on closed streams")

    # Heads.

    def _partial_headers(self, number: int, payload: bytes, flags: int) -> None:
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & WITH_PRIORITY:
            if len(payload) < _PRIORITY_SIZE:
                raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS of a wrong size")
            if int.from_bytes(payload[:4], "big") & _NUMBER == number:
                raise ConnectionFault(PROTOCOL_ERROR, "a stream depends on itself")
            payload = payload[_PRIORITY_SIZE:]
        if flags & END_HEADERS:
            self._headers(number, payload, flags)
            return
        if not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on a stream of a wrong number")
        self._block = bytearray(payload)
        self._block_stream = number
        self._block_flags = flags
        self._block_frames = 0
        self._block_deadline = self.read_deadline

    def _continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            return
        block += payload
        self._block_frames += 1
        limits = self.limits
        if (
            len(block) > limits.max_header_bytes + 32 * limits.max_headers
            or self._block_frames > _MAX_CONTINUATIONS
        ):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header block is too large")
        if flags & END_HEADERS:
            self._block = None
            self._headers(self._block_stream, bytes(block), self._block_flags)

    def _headers(  # noqa: C901, PLR0912 - as above
        self, number: int, block: bytes, flags: int
    ) -> None:
        """A whole header block: the head of a request, or trailers."""
        if number <= self._last or not number & 1:
            self._later_headers(number, block, flags)
            return
        if self._generation != self._decoder.generation:
            self._forget_heads()
        head = self._heads.get(block)
        if head is None:
            head = self._head_cache.heads.get((self._table, block)) if self._table else None
            if head is None:
                head = self._decode_head(number, block, flags)
        if self._final:
            return  # the client knows: it will send the request elsewhere
        self._last = number
        if head is None:
            return
        streams = self.streams
        if len(streams) + len(self._unfinished) >= self._max_streams and not self._has_room():
            self._count_reset()
            self.reject_stream(number, REFUSED_STREAM)
            return
        self._processed = number
        stream = Stream(self, number, head)
        if flags & END_STREAM:
            if stream.remaining > 0:
                self._count_reset()
                self.reject_stream(number, PROTOCOL_ERROR)
                return
            stream.received = True
        streams[number] = stream
        try:
            open_handler = self._open_handler
            handler = None if open_handler is None else open_handler(stream)
            if handler is None and not stream.closed:
                handler = self.open_asgi(stream)
            if not stream.closed:
                stream.handler = handler
                if stream.received and handler is not None:
                    handler.end_received(_NO_TRAILERS)
        except Exception as exc:  # noqa: BLE001 - a handler's failure ends its stream only
            self.handler_failed(stream, exc)

    def open_asgi(self, stream: Stream) -> StreamHandler | None:
        """The handler of a request that goes to the ASGI app; None: it has been answered."""
        raise NotImplementedError

    def refuse_large_head(self, stream: Stream) -> None:
        """Answer a request whose fields are too large."""
        raise NotImplementedError

    def _decode_head(self, number: int, block: bytes, flags: int) -> RequestHead | None:
        """Decode the head of a request; None: the request has been refused."""
        try:
            head = self._read_head(block)
        except CompressionError as exc:
            raise ConnectionFault(COMPRESSION_ERROR, "a header block is not valid") from exc
        except FieldsTooLarge:
            if not self._final:
                self._refuse_large(number, flags)
            return None
        except MalformedRequest:
            if not self._final:
                self._processed = max(number, self._processed)
                self._count_reset()
                self.reject_stream(number, PROTOCOL_ERROR)
            return None
        if self._generation == self._decoder.generation:
            self._remember(block, head)
        return head

    def _forget_heads(self) -> None:
        """The table has changed: bytes may mean other fields."""
        self._heads.clear()
        self._beginnings.clear()
        self._table = 0
        self._generation = self._decoder.generation

    def _remember(self, block: bytes, head: RequestHead) -> None:
        if (
            len(block) > _MAX_BLOCK
            or len(head.headers) * self._decoder.largest > _MAX_HEAD
            or not self._head_cache.came_before(block)
        ):
            return
        if len(self._heads) < _MAX_HEADS:
            self._heads[block] = head
            return
        if not self._table:
            self._table = self._head_cache.table(self._decoder.content())
        self._head_cache.add(self._table, block, head)

    def _read_head(self, block: bytes) -> RequestHead:
        """Decode a head; what it begins with, as others did, is not read again."""
        decoder = self._decoder
        start = indexed_run(block)
        beginning = self._beginnings.get(block[:start])
        if beginning is not None:
            known, partial = beginning
            rest = decoder.decode(block, start, known)
            partial = partial.copy()
            partial.add(rest)
            return partial.finish()
        fields = decoder.decode(block)
        if (
            self._generation == decoder.generation
            and _MIN_BEGINNING <= start <= _MAX_BEGINNING
            and len(self._beginnings) < _MAX_BEGINNINGS
        ):
            partial = PartialHead()
            partial.add(fields[:start])
            if partial.is_plain:
                self._beginnings[block[:start]] = fields[:start], partial
        return read_head(fields)

    def _refuse_large(self, number: int, flags: int) -> None:
        self._processed = max(number, self._processed)
        head = RequestHead("", b"", "", b"", [], None)
        stream = Stream(self, number, head)
        stream.received = bool(flags & END_STREAM)
        self.streams[number] = stream
        self._count_reset()
        self.refuse_large_head(stream)

    def _later_headers(self, number: int, block: bytes, flags: int) -> None:
        """HEADERS on a stream that is not new."""
        if not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "HEADERS on a stream of a wrong number")
        stream = self.streams.get(number)
        if stream is None and number not in self._reset:
            closed = number in self._ended
            code = STREAM_CLOSED if closed else PROTOCOL_ERROR
            raise ConnectionFault(code, "HEADERS on a closed stream")
        trailers: Headers | None
        try:
            trailers = self._decoder.decode(block)
            check_trailers(trailers)
        except CompressionError as exc:
            raise ConnectionFault(COMPRESSION_ERROR, "a header block is not valid") from exc
        except (FieldsTooLarge, MalformedRequest):
            trailers = None
        if stream is None:
            self._spend("HEADERS on closed streams")
        elif stream.received:
            self._stream_fault(stream, STREAM_CLOSED)
        elif trailers is None or not flags & END_STREAM or stream.remaining > 0:
            self._stream_fault(stream, PROTOCOL_ERROR)
        else:
            self._request_ended(stream, trailers)

    # Everything else.

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:  # noqa: C901 - a table
        if kind == SETTINGS:
            self._settings(flags, number, payload)
            return
        if not self._settings_received:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS must be the first frame")
        if kind == WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == RST_STREAM:
            self._rst_stream(number, payload)
        elif kind == PING:
            self._ping(flags, number, payload)
        elif kind == PRIORITY:
            self._priority(number, payload)
        elif kind == GOAWAY:
            if number:
                raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY on a stream")
            if len(payload) < 8:  # noqa: PLR2004 - the RFC's number
                raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY of a wrong size")
            self._spend("GOAWAY frames")
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(PROTOCOL_ERROR, "a client pushes")
        elif kind == CONTINUATION:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        else:
            self._spend("unknown frames")

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
            self.settings_acknowledged = True
            self._spend("SETTINGS frames")
            return
        self._settings_received = True
        self._spend("SETTINGS frames")
        if len(payload) > _MAX_SETTINGS_SIZE:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many settings")
        found = read_settings(payload)
        for key, value in found:
            self._setting(key, value)
        # Before the DATA that a larger window lets go: clients wait for the one, then the other.
        self.reply(frame(SETTINGS, ACK, 0))
        window = dict(found).get(INITIAL_WINDOW_SIZE)
        if window is not None:  # once a frame: it goes through all streams
            self._set_initial_window(window)

    def _setting(self, key: int, value: int) -> None:
        if key == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is not valid")
        elif key == MAX_FRAME_SIZE:
            if not LARGEST <= value <= MAX_FRAME:
                raise ConnectionFault(PROTOCOL_ERROR, "MAX_FRAME_SIZE is not valid")
            self.max_frame = value
        elif key == ENABLE_PUSH and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR, "ENABLE_PUSH is not valid")

    def _set_initial_window(self, value: int) -> None:
        growth = value - self.initial_window
        self.initial_window: int = value
        for stream in tuple(self.streams.values()):
            if not stream.closed and not self.stream_window_grown(stream, growth):
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a stream's window is too large")

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:  # noqa: PLR2004 - the RFC's number
            raise ConnectionFault(FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong size")
        size = int.from_bytes(payload, "big") & _NUMBER
        self._spend("WINDOW_UPDATE frames")
        if number == 0:
            if not size:
                raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE of zero")
            self.window_grown(size)
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number):
                raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that is not open")
        elif not size:
            self._stream_fault(stream, PROTOCOL_ERROR)
        elif not self.stream_window_grown(stream, size):
            self._stream_fault(stream, FLOW_CONTROL_ERROR)

    def _rst_stream(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:  # noqa: PLR2004 - the RFC's number
            raise ConnectionFault(FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        stream = self.streams.get(number)
        if stream is not None:
            if stream.closed:
                self._spend("RST_STREAM frames")
            else:
                self._count_reset()
            self._ended.append(number)
            self.end_stream(stream)
        elif number == 0 or self._is_idle(number):
            raise ConnectionFault(PROTOCOL_ERROR, "RST_STREAM on a stream that is not open")
        else:
            self._spend("RST_STREAM frames")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:  # noqa: PLR2004 - the RFC's number
            raise ConnectionFault(FRAME_SIZE_ERROR, "PING of a wrong size")
        self._spend("PING frames")
        if flags & ACK:
            self.ping_acknowledged(payload)
        else:
            self.ping_received()
            self.reply(frame(PING, ACK, 0, payload))

    def ping_received(self) -> None:
        """The client asks whether the connection works."""

    def ping_acknowledged(self, payload: bytes) -> None:
        """The client has answered our PING."""
        raise NotImplementedError

    def _priority(self, number: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY on the connection")
        self._spend("PRIORITY frames")
        if len(payload) != _PRIORITY_SIZE:
            self._fault_by_number(number, FRAME_SIZE_ERROR)
        elif int.from_bytes(payload[:4], "big") & _NUMBER == number:
            self._fault_by_number(number, PROTOCOL_ERROR)

    # Faults of a stream, and the allowances.

    def _fault_by_number(self, number: int, code: int) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            self._stream_fault(stream, code)
        else:
            raise ConnectionFault(code, "a PRIORITY frame is not valid")

    def _stream_fault(self, stream: Stream, code: int) -> None:
        """End a stream because of what the client did."""
        self._count_reset()
        self.reject_stream(stream.id, code)
        self.end_stream(stream)

    def _spend(self, what: str) -> None:
        work = self._work - self._work_counted
        if work:
            self._work_counted = self._work
            self._allowance = min(MAX_ALLOWANCE, self._allowance + work * _WORTH)
        self._allowance -= 1
        if self._allowance < 0:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"too many {what}")

    def _count_reset(self) -> None:
        self._resets_allowed -= 1
        if self._resets_allowed < 0:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many resets")

    def _has_room(self) -> bool:
        """Whether there is room for a stream, once tasks that are done are not counted."""
        unfinished = self._unfinished
        unfinished.difference_update([task for task in unfinished if task.done()])
        return len(self.streams) + len(unfinished) < self.limits.max_streams

    def _is_idle(self, number: int) -> bool:
        return number > self._last or not number & 1


def _unpadded(payload: bytes) -> bytes:
    """A payload without its padding (RFC 9113 §6.1)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
