"""One connection to one NATS server, from its opening until it is lost; it is never repaired.

Invariant: once `NatsConnection.lost` is set, everything that waits for it has failed with
UNAVAILABLE, and nothing more is sent. Rejected: the client's own reconnection, which sends what it
buffered long ago to a new server, stops trying after some errors, and does not notice a server that
hangs. So it is switched off, and the bus opens the next connection. Three more of the client's
faults are avoided: an unawaited pong ends its reader, so a ping is never abandoned; closing towards
a frozen server waits without end, so the transport is aborted instead; and cancellations that it
swallows are raised again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport

from paceline.errors import Code
from paceline.log import Logger
from paceline.messaging.errors import QueueError
from paceline.messaging.nats.errors import NoStream, translate

_NO_RESPONDERS: Final = "503"
_CLOSE_TIMEOUT: Final = 1.0
_CONNECT_TIMEOUT: Final = 2.0
_MAX_PENDING: Final = 1 << 20
_MAX_PENDING_BYTES: Final = 1 << 28
_NEVER: Final = 1 << 30
_LINE: Final = len("NATS/1.0\r\n\r\n")
_COLON_AND_END: Final = len(": \r\n")


class _Transport(TcpTransport):
    def __bool__(self) -> bool:
        return True  # or the client would replace it by another

    def abort(self) -> None:
        if self._io_writer is not None:
            self._io_writer.transport.abort()


class _Client(Client):
    def __init__(self) -> None:
        super().__init__()
        self.tcp = _Transport()  # type: ignore[no-untyped-call] # the client's own has no types
        self._transport = self.tcp


class NatsConnection:
    """An open connection; ``lost`` is set when it has ended, for whatever reason.

    *Resources*: a socket and the client's tasks, until `close`.
    """

    def __init__(self, log: Logger, *, ping_timeout: float) -> None:
        self.lost: asyncio.Event = asyncio.Event()
        self._log = log
        self._ping_timeout = ping_timeout
        self._client = _Client()
        self._replies: dict[str, asyncio.Future[Msg]] = {}
        self._inbox = ""
        self._last_token = 0
        self._ping_task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._drain_tasks: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None

    @classmethod
    async def open(
        cls,
        servers: Sequence[str],
        log: Logger,
        *,
        name: str,
        ping_timeout: float = 5.0,
    ) -> Self:
        """Connect to one of the ``servers``, each tried for two seconds, twice.

        Errors: `QueueError` UNAVAILABLE, UNAUTHENTICATED.
        """
        connection = cls(log, ping_timeout=ping_timeout)
        try:
            with _keeping_cancellation():
                await connection._connect(servers, name)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _connect(self, servers: Sequence[str], name: str) -> None:
        client = self._client
        try:
            await client.connect(
                servers=list(servers),
                name=name,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_TIMEOUT,  # type: ignore[arg-type] # any number does
                ping_interval=_NEVER,
                pending_size=0,  # no forced flush, which swallows cancellation
                error_cb=self._on_error,
                closed_cb=self._on_closed,
            )
            self._inbox = client.new_inbox()
            await self.subscribe(f"{self._inbox}.*", self._on_reply)
        except Exception as exc:
            if "authorization" in f"{exc} {self._failure}".lower():
                raise QueueError(Code.UNAUTHENTICATED) from exc
            # Which server is not there, and why, is passed to the callback only.
            cause = self._failure or exc
            raise QueueError(Code.UNAVAILABLE) from cause

    @property
    def servers(self) -> list[str]:
        """All servers of the cluster that the server has named."""
        return [uri.geturl() for uri in self._client.servers]

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes, headers included."""
        return self._client.max_payload

    @property
    def unsent(self) -> int:
        """Bytes that the system has not taken yet."""
        return self._client.pending_data_size

    async def send(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send it soon, unless the connection is lost.

        Errors: UNAVAILABLE when it is lost; INVALID_ARGUMENT for a subject, a header or a size
        that the server does not take (it would close the connection).
        """
        if self.lost.is_set():
            raise QueueError(Code.UNAVAILABLE)
        size = size_of(data, headers)
        if size > self.max_payload:
            message = f"a message of {size} bytes is more than the queue takes ({self.max_payload})"
            raise QueueError(Code.INVALID_ARGUMENT, message)
        try:
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        except Exception as exc:
            error = translate(exc)
            if error.code is Code.UNAVAILABLE:  # the client knows before it calls back
                self._mark_lost(exc)
            raise error from exc

    async def start_request(
        self, subject: str, data: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Msg]:
        """Send a request; the future is its reply. Cancel it when the reply is not wanted any more.

        Errors: as `send`; of the future, UNAVAILABLE: there is no responder, or the connection
        was lost.
        """
        self._last_token += 1
        token = str(self._last_token)
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._replies[token] = future
        future.add_done_callback(lambda _: self._replies.pop(token, None))
        try:
            await self.send(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
        except BaseException:
            future.cancel()
            raise
        return future

    async def request(self, subject: str, data: bytes, seconds: float) -> Msg:
        """A request and its reply. Errors: as `start_request`; DEADLINE_EXCEEDED."""
        future = await self.start_request(subject, data)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError as exc:
            raise QueueError(Code.DEADLINE_EXCEEDED) from exc

    async def request_repeatedly(
        self, subject: str, data: bytes, seconds: float, *, interval: float = 1.0
    ) -> Msg:
        """As `request`, sent again after each ``interval``; the first reply to any is the reply.

        For what may be done twice. While a cluster elects the leader of a stream, requests about
        that stream are dropped.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        replies: list[asyncio.Future[Msg]] = []
        try:
            while (left := until - loop.time()) > 0:
                replies.append(await self.start_request(subject, data))
                done, _ = await asyncio.wait(
                    replies, timeout=min(interval, left), return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return done.pop().result()
            raise QueueError(Code.DEADLINE_EXCEEDED)
        finally:
            for future in replies:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # all of them failed, one was raised

    def new_inbox(self) -> str:
        """A subject for replies that no other client uses."""
        return self._client.new_inbox()

    async def subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """Call ``callback``, a coroutine function, with each message. Errors: UNAVAILABLE."""
        try:
            return await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                subject,
                cb=callback,
                pending_bytes_limit=_MAX_PENDING_BYTES,
                pending_msgs_limit=_MAX_PENDING,
            )
        except Exception as exc:
            raise translate(exc) from exc

    async def drain(self, subscription: Subscription) -> None:
        """Unsubscribe, after the callback has had what is under way.

        Takes ``ping_timeout`` at most; the connection is lost then.
        """
        if self.lost.is_set():
            return
        # Like a ping it is never abandoned: see the top of this file.
        task = asyncio.create_task(_drain(subscription), name="queue drain")
        self._drain_tasks.add(task)
        task.add_done_callback(self._on_drained)
        await asyncio.wait([task], timeout=self._ping_timeout)
        if not task.done():
            self._mark_lost(nats.errors.TimeoutError())

    def _on_drained(self, task: asyncio.Task[None]) -> None:
        self._drain_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.debug("queue connection", error=error)

    async def ping(self) -> None:
        """Wait for the server's pong; everything sent before has then reached it.

        Errors: UNAVAILABLE when none comes in time: the connection is lost then.
        """
        if self.lost.is_set():
            raise QueueError(Code.UNAVAILABLE)
        if self._ping_task is None or self._ping_task.done():
            self._ping_task = asyncio.create_task(self._ping(), name="queue ping")
        await asyncio.wait([self._ping_task])
        if self.lost.is_set():
            raise QueueError(Code.UNAVAILABLE)

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(self._ping_timeout):
                await self._client.rtt(_NEVER)
        except (nats.errors.Error, TimeoutError, OSError) as exc:
            self._mark_lost(exc)

    async def close(self) -> None:
        """Close it. Takes a second at most, and may be repeated."""
        self._mark_lost(nats.errors.ConnectionClosedError())
        # In a task of its own: the client, cancelled while it closes, would leave tasks behind.
        self._closing = self._closing or asyncio.create_task(self._close(), name="queue close")
        tasks = [*self._drain_tasks, *([self._ping_task] if self._ping_task else [])]
        try:
            await asyncio.wait([self._closing])
        finally:
            for task in tasks:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                with suppress(Exception):  # that it ends matters, not how
                    await self._client.close()
        except TimeoutError:
            pass
        finally:
            self._client.tcp.abort()

    async def _on_error(self, error: Exception) -> None:
        self._failure = error
        if self._inbox and not self.lost.is_set():
            self._log.debug("queue connection", error=error)

    async def _on_closed(self) -> None:
        self._mark_lost(self._failure or nats.errors.ConnectionClosedError())

    def _mark_lost(self, reason: Exception) -> None:
        if self.lost.is_set():
            return
        self._failure = reason
        self.lost.set()
        for future in [*self._replies.values()]:
            if not future.done():
                error = QueueError(Code.UNAVAILABLE, "the connection to the queue was lost")
                error.__cause__ = reason
                future.set_exception(error)

    async def _on_reply(self, message: Msg) -> None:
        future = self._replies.get(message.subject[len(self._inbox) + 1 :])
        if future is None or future.done():
            return
        if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            future.set_exception(NoStream())
        else:
            future.set_result(message)


@contextmanager
def _keeping_cancellation() -> Generator[None]:
    """Raise the cancellation that was swallowed in the block.

    The client swallows some, and so does `asyncio.wait_for` before Python 3.12 when what it waits
    for ends in the same moment; a task that replaces lost connections would then never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except Exception as exc:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from exc
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def _drain(subscription: Subscription) -> None:
    await subscription.drain()  # type: ignore[no-untyped-call] # the client's own has no types


def size_of(data: bytes, headers: Mapping[str, str] | None) -> int:
    """What the server counts as a message's size."""
    if not headers:
        return len(data)
    fields = sum(len(key) + len(value.encode()) + _COLON_AND_END for key, value in headers.items())
    return len(data) + _LINE + fields
