"""NATS: one connection at a time, opened again for ever, and publishing with an acknowledgement.

Invariant: a message counts as published when JetStream has acknowledged it, and not before; one
whose connection was lost is sent again under the same id, which the stream's window of two minutes
makes one message. Messages of one `publish_all` are stored in their order; what waits is bounded,
in number and in bytes. A server that does not answer a ping is left like one that is gone. Built by
``main``; ``nats_consumer`` and ``dead`` stand on it. Read ``nats_connection``, ``shipment`` next.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import urlsplit

from paceline.concurrency import remaining
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.message import Message
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.errors import QueueError
from paceline.messaging.nats.jetstream import Stream, decode_answer, ensure_stream
from paceline.messaging.nats.publish_batch import PublishBatch
from paceline.messaging.spans import Sending
from paceline.trace import Tracer

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


class NatsBus:
    """A connection to NATS, as a service. All times are in seconds.

    ``url``: one server or several, by commas. ``name``: how the server's monitoring calls us.
    ``streams`` are created at the start, or given the subjects they lack; never anything else is
    done to them. ``publish_timeout``: the most a publish may take, a lost connection included.
    ``max_in_flight`` and ``max_unsent`` (bytes): what may be under way at once. ``ping_every`` and
    ``ping_timeout``: how a server that hangs is noticed. ``tracer``: goes on with the traces in
    which messages were made.

    *Resources*: a connection and a task from `start` to `stop`.
    """

    def __init__(
        self,
        url: str,
        log: Logger,
        *,
        name: str = "queue",
        streams: Sequence[Stream] = (),
        start_timeout: float = 10.0,
        publish_timeout: float = 15.0,
        max_in_flight: int = 1024,
        max_unsent: int = 64 << 20,
        ping_every: float = 5.0,
        ping_timeout: float = 5.0,
        tracer: Tracer | None = None,
    ) -> None:
        self.name = name
        self._given = [server.strip() for server in url.split(",")]
        self._servers = self._given
        self._log = log
        self._streams = tuple(streams)
        self._start_timeout = start_timeout
        self._publish_timeout = publish_timeout
        self._places = asyncio.Semaphore(max_in_flight)
        self._max_unsent = max_unsent
        self._ping_every = ping_every
        self._ping_timeout = ping_timeout
        self._tracer = tracer
        self._connection: NatsConnection | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, waiting for a server that is coming up, and see that the streams are there.

        Errors: UNAVAILABLE with host and port, when it does not come up in time; UNAUTHENTICATED.
        """
        if self._keeper is not None:
            raise RuntimeError("the queue is started already")
        connection = await self._first()
        self._up(connection)
        self._keeper = asyncio.create_task(self._keep(connection), name=f"{self.name} keeper")
        for stream in self._streams:
            await self.ensure_stream(stream)

    async def stop(self) -> None:
        """Send what is left and close. May be repeated, and called without a `start`."""
        keeper, self._keeper = self._keeper, None
        connection, self._connection = self._connection, None
        self._connected.clear()
        try:
            if keeper is not None:
                keeper.cancel()
                await asyncio.wait([keeper])
            if connection is not None:
                with suppress(Error):
                    await connection.ping()
        finally:
            if connection is not None:
                await connection.close()

    @property
    def ping_timeout(self) -> float:
        """How long a server may take to answer, in seconds."""
        return self._ping_timeout

    async def connection(self, seconds: float) -> NatsConnection:
        """The connection, waited for at most ``seconds``. Errors: UNAVAILABLE."""
        while True:
            current = self._connection
            if current is not None and not current.lost.is_set():
                return current
            if self._keeper is None:
                raise QueueError(Code.UNAVAILABLE)
            self._connected.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._connected.wait()
            except TimeoutError as exc:
                raise QueueError(Code.UNAVAILABLE) from exc

    async def ping(self) -> None:
        """For readiness: a sign of life from the server. Errors: UNAVAILABLE."""
        current = self._connection
        if current is None:
            raise QueueError(Code.UNAVAILABLE)
        await current.ping()

    async def publish(self, message: Message) -> None:
        """Publish; when this returns the queue holds the message.

        Errors: UNAVAILABLE (also: no stream takes the subject), DEADLINE_EXCEEDED (it may be
        stored or not: sending it again under its id is safe), RESOURCE_EXHAUSTED (the stream is
        full), INVALID_ARGUMENT (subject, header or size).
        """
        (outcome,) = await self.publish_all([message])
        if outcome is not None:
            raise outcome

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish many, without waiting for one before the next: None for each that is stored.

        They are sent in order, and stored so, but one may fail in the middle (as for `publish`)
        and those after it be stored.
        """
        until = asyncio.get_running_loop().time() + _within(self._publish_timeout)
        with Sending(self._tracer, "nats", messages) as sending:
            shipment = PublishBatch(sending.messages, self._places, self._max_unsent)
            while shipment.left:
                try:
                    connection = await self.connection(until - asyncio.get_running_loop().time())
                except Error as exc:
                    shipment.give_up(exc)
                else:
                    await shipment.send(connection, until)
            return sending.told(shipment.outcomes())

    async def ensure_stream(self, stream: Stream) -> None:
        """Create the stream, or add the subjects it lacks; nothing else of it is changed.

        Errors: INVALID_ARGUMENT for settings that JetStream does not take; UNAVAILABLE.
        """
        connection = await self.connection(_within(self._publish_timeout))
        await ensure_stream(connection, stream, _within(self._publish_timeout))

    async def ask(self, subject: str, request: bytes, kind: type[T]) -> T:
        """A request to JetStream's API and its decoded answer.

        Errors: `QueueError` with JetStream's number; UNAVAILABLE; DEADLINE_EXCEEDED.
        """
        connection = await self.connection(_within(self._publish_timeout))
        message = await connection.request(subject, request, _within(self._publish_timeout))
        return decode_answer(message.data, kind)

    async def _first(self) -> NatsConnection:
        loop = asyncio.get_running_loop()
        until = loop.time() + _within(self._start_timeout)
        pause = _FIRST_PAUSE
        while True:
            try:
                return await self._open()
            except QueueError as exc:
                if exc.code is Code.UNAUTHENTICATED or loop.time() + pause >= until:
                    message = f"cannot connect to {describe(self._given)}: {exc.message}"
                    raise QueueError(exc.code, message) from exc
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _keep(self, connection: NatsConnection) -> None:
        """Watch the connection, and open another when it is lost."""
        while True:
            await self._watch(connection)
            await connection.close()
            began = asyncio.get_running_loop().time()
            self._log.warning("queue disconnected", servers=describe(self._given))
            connection = await self._again()
            self._up(connection)
            away = asyncio.get_running_loop().time() - began
            self._log.info("queue reconnected", seconds=round(away, 3))

    async def _watch(self, connection: NatsConnection) -> None:
        while not connection.lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._ping_every):
                    await connection.lost.wait()
            with suppress(Error):
                await connection.ping()

    async def _again(self) -> NatsConnection:
        pause = _FIRST_PAUSE
        told: Code | None = Code.UNAVAILABLE
        while True:
            try:
                return await self._open()
            except QueueError as exc:
                if exc.code is not told:
                    told = exc.code
                    self._log.error("cannot reconnect to the queue", error=exc)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _open(self) -> NatsConnection:
        connection = await NatsConnection.open(
            self._servers, self._log, name=self.name, ping_timeout=self._ping_timeout
        )
        self._servers = with_login(connection.servers, self._given)
        return connection

    def _up(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._connected.set()


def _within(seconds: float) -> float:
    left = remaining()
    return seconds if left is None else min(seconds, left)


def describe(servers: Sequence[str]) -> str:
    """Hosts and ports, for people: never who logs in."""
    return ", ".join(_netloc(server).rpartition("@")[2] for server in servers)


def _netloc(server: str) -> str:
    try:
        return urlsplit(server if "//" in server else f"nats://{server}").netloc
    except ValueError:
        return "the queue"


def with_login(servers: Sequence[str], given: Sequence[str]) -> list[str]:
    """The servers that the cluster told of, with the login of the first that was given."""
    login = next((_netloc(each).rpartition("@")[0] for each in given if "@" in each), "")
    found = list(given)
    known = {_netloc(each).rpartition("@")[2] for each in given}
    for server in servers:
        scheme, _, rest = server.partition("://")
        address = rest.rpartition("@")[2]
        if address not in known:
            known.add(address)
            found.append(f"{scheme}://{login}@{address}" if login else server)
    return found
