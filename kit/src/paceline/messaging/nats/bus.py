"""Publishing to NATS JetStream, on one connection at a time, which is replaced when it is lost.

Invariant: a message counts as published when JetStream has acknowledged it. One whose connection
was lost is sent again under the same id, which the stream's duplicate window of two minutes makes
one message. Messages of one `NatsBus.publish_all` are stored in their order; what is in flight is
bounded, in number and in bytes. A server that does not answer a ping counts as lost. A stream that
the bus was made with is kept in existence: a server that comes back with an empty store, or whose
stream was deleted, is given it again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

from paceline._ranges import check_ranges
from paceline.errors import Code, Error
from paceline.log import Logger, shown_hosts
from paceline.messaging.errors import QueueError
from paceline.messaging.message import Message
from paceline.messaging.nats.connection import NatsConnection
from paceline.messaging.nats.errors import NoStream
from paceline.messaging.nats.jetstream import call_api, ensure_stream
from paceline.messaging.nats.publish_batch import PublishBatch
from paceline.messaging.nats.stream import Stream
from paceline.messaging.spans import PublishSpans
from paceline.messaging.waiting import Backoff, within_deadline
from paceline.trace import Tracer

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_RESTORE_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsBusSettings:
    """Times (seconds) and limits of a `NatsBus`. Errors: ValueError for what cannot work."""

    start_timeout: float = 10.0
    """How long `start` waits for a server that is coming up."""
    publish_timeout: float = 15.0
    """How long a publish or an API call may take, the replacement of a lost connection included."""
    max_in_flight: int = 1024
    """Messages sent and not acknowledged, at most; further publishes wait."""
    max_unsent: int = 64 << 20
    """Bytes that the connection has not sent, at most; beyond it a publish is refused."""
    ping_interval: float = 5.0
    """How often the server is pinged."""
    ping_timeout: float = 5.0
    """How long it may take to answer before the connection counts as lost."""

    def __post_init__(self) -> None:
        """Refuse what cannot work. Errors: ValueError."""
        check_ranges(
            self,
            positive=("publish_timeout", "max_in_flight", "ping_interval", "ping_timeout"),
            not_negative=("start_timeout", "max_unsent"),
        )


class NatsBus:
    """A connection to NATS, as a service.

    ``url``: one server or several, separated by commas. ``name``: the client's name in the server's
    monitoring. ``streams`` are created at the start, or given the subjects that they lack; nothing
    else of them is changed. One that is missing later, since the server lost its store or somebody
    deleted it, is created again when that is noticed. ``tracer``: continues the traces in which
    messages were made.

    Example: ``NatsBus("nats://127.0.0.1:4222", log, streams=[Stream("THINGS", ("things.>",))])``.

    *Resources*: a connection and two tasks from `start` to `stop`.
    """

    def __init__(
        self,
        url: str,
        log: Logger,
        *,
        name: str = "queue",
        streams: Sequence[Stream] = (),
        settings: NatsBusSettings | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.name = name
        self._configured = [server.strip() for server in url.split(",")]
        self._servers = self._configured
        self._log = log
        self._streams = tuple(streams)
        self._check_streams = asyncio.Event()
        self._settings = settings or NatsBusSettings()
        self._slots = asyncio.Semaphore(self._settings.max_in_flight)
        self._tracer = tracer
        self._connection: NatsConnection | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._restorer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, waiting for a server that is coming up, and ensure that the streams exist.

        Errors: UNAVAILABLE with host and port, when it does not come up in time; UNAUTHENTICATED.
        """
        if self._keeper is not None:
            raise RuntimeError("the queue is started already")
        connection = await self._connect()
        self._use(connection)
        self._keeper = asyncio.create_task(self._keep(connection), name=f"{self.name} keeper")
        for stream in self._streams:
            await self.ensure_stream(stream)
        self._restorer = asyncio.create_task(self._restore_forever(), name=f"{self.name} streams")

    async def stop(self) -> None:
        """Send what is under way and close. May be repeated, and called without a `start`."""
        tasks = [each for each in (self._keeper, self._restorer) if each is not None]
        self._keeper = self._restorer = None
        connection, self._connection = self._connection, None
        self._connected.clear()
        try:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            if connection is not None:
                with suppress(Error):
                    await connection.ping()
        finally:
            if connection is not None:
                await connection.close()

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
        """A check for readiness: the server answers. Errors: UNAVAILABLE."""
        current = self._connection
        if current is None:
            raise QueueError(Code.UNAVAILABLE)
        await current.ping()

    async def publish(self, message: Message) -> None:
        """Publish; when this returns the queue holds the message.

        Errors: UNAVAILABLE (also: no stream takes the subject), DEADLINE_EXCEEDED (it may be
        stored or not: publishing it again under its id is safe), RESOURCE_EXHAUSTED (the stream is
        full), INVALID_ARGUMENT (subject, header or size).
        """
        (outcome,) = await self.publish_all([message])
        if outcome is not None:
            raise outcome

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish many, without waiting for one before the next: None for each that is stored.

        They are sent and stored in order, but one may fail (as for `publish`) and those after it be
        stored.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within_deadline(self._settings.publish_timeout)
        with PublishSpans(self._tracer, "nats", messages) as spans:
            batch = PublishBatch(spans.messages, self._slots, self._settings.max_unsent)
            while batch.pending:
                try:
                    connection = await self.connection(until - loop.time())
                except Error as exc:
                    batch.fail_pending(exc)
                else:
                    await batch.send(connection, until)
            outcomes = batch.outcomes()
            if any(isinstance(each, NoStream) for each in outcomes):
                self._check_streams.set()
            return spans.record(outcomes)

    async def ensure_stream(self, stream: Stream) -> None:
        """Create the stream, or add the subjects it lacks; nothing else of it is changed.

        Errors: INVALID_ARGUMENT for settings that JetStream does not take; UNAVAILABLE.
        """
        seconds = within_deadline(self._settings.publish_timeout)
        await ensure_stream(await self.connection(seconds), stream, seconds)

    async def restore_streams(self) -> None:
        """Create again those of the bus's ``streams`` that are missing.

        Errors: as `ensure_stream`.
        """
        seconds = within_deadline(self._settings.publish_timeout)
        connection = await self.connection(seconds)
        for stream in self._streams:
            if await ensure_stream(connection, stream, seconds):
                self._log.warning("stream created again", stream=stream.name)

    async def call_api(self, subject: str, request: object, kind: type[T]) -> T:
        """Call JetStream's API with what may be done more than once; gives its decoded answer.

        ``subject`` is without the prefix ``$JS.API.``; ``request`` is encoded as JSON, None for
        none. Example: ``await bus.call_api("STREAM.INFO.THINGS", None, MyInfo)``.

        Errors: `JetStreamError`, UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        seconds = within_deadline(self._settings.publish_timeout)
        return await call_api(await self.connection(seconds), subject, request, kind, seconds)

    async def _connect(self) -> NatsConnection:
        loop = asyncio.get_running_loop()
        until = loop.time() + within_deadline(self._settings.start_timeout)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                return await self._open()
            except QueueError as exc:
                if exc.code is Code.UNAUTHENTICATED or loop.time() + backoff.next >= until:
                    servers = server_addresses(self._configured)
                    message = f"cannot connect to {servers}: {exc.message}"
                    raise QueueError(exc.code, message) from exc
            await backoff.pause()

    async def _keep(self, connection: NatsConnection) -> None:
        """Watch the connection, and open another when it is lost."""
        while True:
            await self._watch(connection)
            await connection.close()
            lost_at = asyncio.get_running_loop().time()
            servers = server_addresses(self._configured)
            self._log.warning("queue disconnected", servers=servers)
            connection = await self._reconnect()
            self._use(connection)
            seconds = asyncio.get_running_loop().time() - lost_at
            self._log.info("queue reconnected", seconds=round(seconds, 3))
            self._check_streams.set()  # the server may have lost its store

    async def _watch(self, connection: NatsConnection) -> None:
        while not connection.lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.ping_interval):
                    await connection.lost.wait()
            with suppress(Error):
                await connection.ping()

    async def _restore_forever(self) -> None:
        """Create missing streams again, after a reconnection and when nothing takes a subject."""
        logged = ""
        while True:
            await self._check_streams.wait()
            self._check_streams.clear()
            try:
                await self.restore_streams()
                logged = ""
            except Error as exc:
                self._check_streams.set()
                if exc.message != logged:
                    logged = exc.message
                    self._log.warning("cannot create the streams again", error=exc)
            await asyncio.sleep(_RESTORE_PAUSE)

    async def _reconnect(self) -> NatsConnection:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        logged = Code.UNAVAILABLE
        while True:
            try:
                return await self._open()
            except QueueError as exc:
                if exc.code is not logged:
                    logged = exc.code
                    self._log.error("cannot reconnect to the queue", error=exc)
            await backoff.pause()

    async def _open(self) -> NatsConnection:
        connection = await NatsConnection.open(
            self._servers, self._log, name=self.name, ping_timeout=self._settings.ping_timeout
        )
        self._servers = with_login(connection.servers, self._configured)
        return connection

    def _use(self, connection: NatsConnection) -> None:
        self._connection = connection
        self._connected.set()


def server_addresses(servers: Sequence[str]) -> str:
    """Hosts and ports of URLs, to be shown: without user and password."""
    return shown_hosts(",".join(servers)) or "the queue"


def _netloc(server: str) -> str:
    try:
        return urlsplit(server if "//" in server else f"nats://{server}").netloc
    except ValueError:
        return "the queue"


def with_login(servers: Sequence[str], configured: Sequence[str]) -> list[str]:
    """The configured servers and the others of the cluster, with the configured login."""
    login = next((_netloc(each).rpartition("@")[0] for each in configured if "@" in each), "")
    found = list(configured)
    known = {_netloc(each).rpartition("@")[2] for each in configured}
    for server in servers:
        scheme, _, rest = server.partition("://")
        address = rest.rpartition("@")[2]
        if address not in known:
            known.add(address)
            found.append(f"{scheme}://{login}@{address}" if login else server)
    return found
