"""A call on a stream of HTTP/2: its messages out of DATA frames, and its answer into them.

`SingleRequest` takes the one message of a unary or server-streaming call and has no task before the
message is whole; `RequestSequence` takes many and is their iterator. A request that breaks a rule
(too large, two messages for one, no decompression) goes through the method's endpoint like any
other, as an error in place of the message: so it is authenticated, logged and measured, too.

Invariant: a call is answered once: ``_over`` is set when the status has been sent or the stream has
closed, and nothing is sent after it. What a client may have in memory here is one message and what
the stream's window lets through: bytes are given back by ``consume`` when a message is taken, or
when the handler waits for the rest of one.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

from paceline.errors import Code, Error
from paceline.grpc.call import Call, ErrorStatus, is_own_timeout
from paceline.grpc.compression import choose_encoding, compress
from paceline.grpc.encodings import unpack
from paceline.grpc.late_refusal import LateRefusal
from paceline.grpc.refusals import (
    TOO_MANY_CALLS,
    cut_short,
    more_messages,
    no_message,
    past_deadline,
    too_large,
)
from paceline.grpc.responses import ENCODINGS, OK_TRAILERS, encode_error, encode_metadata
from paceline.grpc.route import ActiveCalls, Route
from paceline.grpc.status import error_status_of
from paceline.http import Headers
from paceline.http.server import RequestStream

_PREFIX: Final = Struct(">BI")  # compressed or not, and the message's length
_PREFIX_SIZE: Final = _PREFIX.size
_WRITES_IN_A_ROW: Final = 32


@dataclass(frozen=True, slots=True)
class CallHead:
    """What the head of a call says; the same for all calls with this head.

    ``fields``: of the request, by name. ``response``: the headers of its answer, encoded.
    ``timeout``: seconds that the client allows. ``encoding``: of messages that are compressed.
    """

    route: Route
    fields: Mapping[bytes, bytes]
    response: bytes
    timeout: float | None
    encoding: bytes | None


class StreamCall:
    """What both kinds of requests have in common: the task, the answer, the end."""

    __slots__ = (
        "_calls", "_deadline", "_encoding", "_head", "_loop", "_over", "_response_encoding",
        "_sent_head", "_started", "_stream", "_task", "_timeout", "_timer", "_writable", "_writes",
        "fields", "received_compressed", "route",
    )  # fmt: skip

    timeout_field = "grpc-timeout"

    def __init__(self, head: CallHead, calls: ActiveCalls, stream: RequestStream) -> None:
        self.route: Route = head.route
        self.fields: Mapping[bytes, bytes] = head.fields
        self.received_compressed: bool = False
        self._calls = calls
        self._stream = stream
        self._head = head.response
        self._encoding = head.encoding
        self._response_encoding: bytes | None = None
        self._loop = loop = asyncio.get_running_loop()
        self._timeout = timeout = head.timeout
        self._deadline = None if timeout is None else loop.time() + timeout
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._writes = 0
        self._started = False
        self._sent_head = False
        self._over = False

    @property
    def headers(self) -> Headers:
        """See `Context`."""
        return self._stream.headers

    @property
    def client(self) -> str:
        """See `Context`."""
        address = self._stream.client
        return "unix" if address is None else address[0]

    def time_remaining(self) -> float | None:
        """See `Context`."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._loop.time())

    async def send_initial(self, call: Call, /) -> None:
        """See `Context`."""
        if not self._sent_head and not self._over:
            self._stream.send_headers(self._head_of(call))
            self._sent_head = True

    async def write(self, call: Call, message: bytes, /) -> None:
        """See `Context`."""
        if self._over:
            raise Error(Code.CANCELLED, "the client disconnected")
        if not self._sent_head:
            self._stream.send_headers(self._head_of(call))
            self._sent_head = True
        if not self._stream.send(self._framed(call, message)):
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None
            self._writes = 0
        elif self._writes < _WRITES_IN_A_ROW:
            self._writes += 1
        else:
            self._writes = 0
            await asyncio.sleep(0)  # a client that reads fast leaves the others their turn

    def writable(self) -> None:
        """See `StreamHandler`."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def closed(self) -> None:
        """See `StreamHandler`."""
        if self._over:
            return
        self._over = True
        if self._timeout is not None and self._deadline is not None:
            now = self._loop.time()
            if is_own_timeout(self._deadline - now, self._timeout):
                self._deadline = now
        self._stop()

    def _start(self, request: bytes | Error | AsyncIterator[bytes]) -> None:
        calls = self._calls
        if calls.count >= calls.limits.max_calls:
            self._over = True
            self._send_error(TOO_MANY_CALLS)
            return
        if self._deadline is not None and self.route.timed:
            if self._deadline <= self._loop.time():
                self._expire()
                return
            self._timer = self._loop.call_at(self._deadline, self._expire)
        calls.count += 1
        # An empty context: a call must not inherit what was ambient at the server's start.
        self._task = self._loop.create_task(self._run(request), context=contextvars.Context())
        self._stream.attach(self._task)

    async def _run(self, request: bytes | Error | AsyncIterator[bytes]) -> None:
        self._started = True
        if self._over:  # before this first step: the call is logged and measured all the same
            if isinstance(request, bytes | Error):
                request = self._why_over()
            elif self._task is not None:
                self._task.cancel()
        route = self.route
        call = Call(route.method, request, self)
        if route.compress:
            call.compression = True
        reply = None
        try:
            reply = await route.endpoint(call)
        except asyncio.CancelledError:
            call.error = _CANCELLED  # of the task alone: the client is still there
            raise
        except Exception as exc:  # noqa: BLE001 - nobody recovered, and the client waits
            call.error = error_status_of(exc)
        finally:
            calls = self._calls
            calls.count -= 1
            if not calls.count:
                calls.end()
            if not self._over:
                self._answer(call, reply)

    def _answer(self, call: Call, reply: bytes | None) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            tail = OK_TRAILERS if call.error is None else encode_error(call.error)
            if call.trailing:
                tail += encode_metadata(call.trailing)
            if call.error is not None:
                reply = None
            elif reply is not None and call.compression is None and not self._sent_head:
                # The way of nearly all calls: the rest of this function without its questions.
                head = self._head
                if call.initial:
                    head += encode_metadata(call.initial)
                self._stream.respond(head, len(reply).to_bytes(5, "big") + reply, tail)
                return
            self._respond(call, reply, tail)
        except ValueError as exc:
            self._loop.call_exception_handler(
                {"message": f"metadata of {call.method.path} cannot be sent", "exception": exc}
            )
            self._send_error(error_status_of(exc))

    def _respond(self, call: Call, reply: bytes | None, tail: bytes) -> None:
        head, tail = self._ends(call, tail)
        self._stream.respond(head, b"" if reply is None else self._framed(call, reply), tail)

    def _ends(self, call: Call, tail: bytes) -> tuple[bytes, bytes]:
        """What comes before the messages and after them. Errors: ValueError."""
        if self._sent_head:
            return b"", tail
        if call.error is not None and not call.initial:
            return self._head + tail, b""
        return self._head_of(call), tail

    def _head_of(self, call: Call) -> bytes:
        head = self._head
        if call.compression is not None:
            found = choose_encoding(self.fields.get(b"grpc-accept-encoding"))
            if found is not None:
                self._response_encoding = found
                head += ENCODINGS[found]
        if call.initial:
            head += encode_metadata(call.initial)
        return head

    def _framed(self, call: Call, message: bytes) -> bytes:
        if call.compression and self._response_encoding is not None:
            message = compress(message, self._response_encoding)
            return _PREFIX.pack(1, len(message)) + message
        return _PREFIX.pack(0, len(message)) + message

    def _send_error(self, error: ErrorStatus) -> None:
        if self._sent_head:
            self._stream.send_headers(encode_error(error), end=True)
        else:
            self._stream.respond(self._head + encode_error(error), b"", b"")

    def _expire(self) -> None:
        if self._over:
            return
        self._over = True
        self._deadline = self._loop.time()
        self._send_error(error_status_of(self._past_deadline()))
        self._stop()

    def _stop(self) -> None:
        """Cancel the task, which answers no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._started:
            self._task.cancel()

    def _past_deadline(self) -> Error:
        return past_deadline(self._timeout or 0, self.timeout_field)

    def _why_over(self) -> Error:
        if self.time_remaining() == 0:
            return self._past_deadline()
        return Error(Code.CANCELLED, "the client disconnected")

    def _unpacked(self, flags: int, message: bytes) -> bytes:
        """The message out of its frame. Errors: Error."""
        self.received_compressed = flags == 1
        return unpack(flags, message, self._encoding, self._calls.limits.max_message)

    def _too_large(self, size: int) -> Error:
        return too_large(size, self._calls.limits.max_message)


class SingleRequest(StreamCall):
    """A call with one message, which is collected before there is a task."""

    __slots__ = ("_counted", "_data", "_size")

    _counted: int
    _data: bytes | bytearray
    _size: int

    def begin(self) -> "SingleRequest":
        """Wait for the message."""
        self._counted = 0
        self._data = b""
        self._size = -1
        return self

    def data_received(self, data: bytes) -> None:
        """See `StreamHandler`."""
        if self._task is not None or self._over:
            return
        self._stream.consume(len(data))
        if not self._data:
            self._data = data
        elif isinstance(self._data, bytearray):
            self._data += data
        else:
            self._data = bytearray(self._data) + data
        length = len(self._data)
        if self._size < 0:
            if length < _PREFIX_SIZE:
                return
            _, size = _PREFIX.unpack_from(self._data)
            if size > self._calls.limits.max_message:
                self._refuse(self._too_large(size))
                return
            self._size = size + _PREFIX_SIZE
        if length > self._size:
            self._refuse(more_messages())
        elif length < self._size or self._counted:
            if self._calls.hold(self._stream.connection, len(data)):
                self._counted += len(data)
            else:
                self._refuse(_NO_ROOM)

    def closed(self) -> None:
        """See `StreamHandler`."""
        self._drop()
        super().closed()

    def _drop(self) -> None:
        self._data = b""
        if self._counted:
            self._calls.let_go(self._stream.connection, self._counted)
            self._counted = 0

    def end_received(self, trailers: Headers) -> None:
        """See `StreamHandler`."""
        del trailers
        if self._task is not None or self._over:
            return
        data = self._data
        self._drop()
        if len(data) == self._size:
            message = bytes(data[_PREFIX_SIZE:])
            if data[0]:
                try:
                    message = self._unpacked(data[0], message)
                except Error as exc:
                    self._start(exc)
                    return
            self._start(message)
        else:
            self._start(cut_short() if data else no_message())

    def _refuse(self, error: Error) -> None:
        self._drop()
        self._start(error)


class RequestSequence(StreamCall):
    """A call with many messages: an asynchronous iterator of them, for one task."""

    __slots__ = ("_arrival", "_data", "_ended", "_held", "_late", "_taken")

    _arrival: asyncio.Future[None] | None
    _data: bytearray
    _ended: bool
    _held: int  # bytes of ``_data``, its end, that have not been given back
    _late: LateRefusal | None  # an error before anything has come
    _taken: bool  # whether the handler has asked for a message

    def begin(self) -> "RequestSequence":
        """Start the handler, which may answer before anything has come."""
        self._arrival = None
        self._data = bytearray()
        self._ended = False
        self._held = 0
        self._late = None
        self._taken = False
        self._start(self)
        return self

    @property
    def _is_early(self) -> bool:
        """Whether nothing has been sent, and the client may not have sent anything either."""
        return not (self._sent_head or self._data or self._ended or self._taken)

    def _respond(self, call: Call, reply: bytes | None, tail: bytes) -> None:
        if call.error is not None and self._is_early:
            self._late = LateRefusal(self._stream, *self._ends(call, tail))
        else:
            super()._respond(call, reply, tail)

    def _send_error(self, error: ErrorStatus) -> None:
        if self._is_early:
            self._late = LateRefusal(self._stream, self._head + encode_error(error))
        else:
            super()._send_error(error)

    def closed(self) -> None:
        """See `StreamHandler`."""
        if self._late is not None:
            self._late.closed()
        super().closed()

    def data_received(self, data: bytes) -> None:
        """See `StreamHandler`."""
        if self._over:
            if self._late is not None:
                self._late.data_received(data)
            return
        self._data += data
        self._held += len(data)
        if self._arrival is not None:
            if self._is_due():
                self._wake()
            else:
                self._give_back(self._held)

    def end_received(self, trailers: Headers) -> None:
        """See `StreamHandler`."""
        self._ended = True
        if self._late is not None:
            self._late.end_received(trailers)
        self._wake()

    def __aiter__(self) -> "RequestSequence":
        """Itself."""
        return self

    async def __anext__(self) -> bytes:
        """The next message. Errors: Error for one that breaks a rule."""
        if not self._taken:
            self._taken = True
            self._stream.lift_read_timeout()  # all interceptors have let it through
        while not self._is_due():
            if self._ended:
                if self._data:
                    raise cut_short()
                raise StopAsyncIteration
            self._give_back(self._held)
            self._arrival = self._loop.create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        flags, size = _PREFIX.unpack_from(self._data)
        if size > self._calls.limits.max_message:
            raise self._too_large(size)
        end = _PREFIX_SIZE + size
        message = bytes(self._data[_PREFIX_SIZE:end])
        self._give_back(end - (len(self._data) - self._held))
        del self._data[:end]
        return self._unpacked(flags, message)

    def _is_due(self) -> bool:
        """Whether a message is there, or the beginning of one that is too large."""
        if len(self._data) < _PREFIX_SIZE:
            return False
        size: int = _PREFIX.unpack_from(self._data)[1]
        return len(self._data) >= _PREFIX_SIZE + size or size > self._calls.limits.max_message

    def _give_back(self, size: int) -> None:
        if size > 0:
            self._held -= size
            self._stream.consume(size)

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


_CANCELLED: Final = error_status_of(Error(Code.CANCELLED, "the call was cancelled"))
_NO_ROOM: Final = Error(
    Code.RESOURCE_EXHAUSTED, "too many messages are arriving at once: try again later"
)
