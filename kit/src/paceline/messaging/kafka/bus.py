"""Publishing to Kafka: one idempotent producer at a time, acknowledged by all in-sync replicas.

Invariant: a message counts as published when every in-sync replica has it. Kafka drops what its
client sends twice and nothing else: a message that is published again under its id is stored again,
and its consumer's inbox makes that harmless. Messages of one key go to one partition, so they stay
in order. The subject is the topic.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors

from paceline._ranges import check_ranges
from paceline.errors import Code, Error, copy_exception
from paceline.log import Logger
from paceline.messaging.errors import QueueError
from paceline.messaging.kafka import records as kafka_records
from paceline.messaging.kafka.errors import translate
from paceline.messaging.kafka.security import NO_SECURITY, KafkaSecurity
from paceline.messaging.kafka.topics import Topic, ensure_topics
from paceline.messaging.message import Message
from paceline.messaging.spans import PublishSpans
from paceline.messaging.waiting import Backoff, within_deadline
from paceline.trace import Tracer

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_CLOSE_TIMEOUT: Final = 5.0
_TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_FAILURES: Final = (errors.KafkaError, errors.IllegalOperation, OSError, TimeoutError, ValueError)


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to be sent."""

    topic: str
    key: str
    data: bytes
    headers: kafka_records.Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaBusSettings:
    """Times (seconds) and limits (bytes) of a `KafkaBus`.

    Errors: ValueError for what cannot work.
    """

    start_timeout: float = 10.0
    """How long `start` waits for a broker that is coming up."""
    publish_timeout: float = 15.0
    """How long a publish may take, an outage included."""
    request_timeout: float = 10.0
    """How long one request to a broker may take."""
    ping_timeout: float = 5.0
    """How long a broker may take to answer `ping`."""
    max_message: int = 1 << 20
    """The largest message, headers included."""
    max_unsent: int = 256 << 10
    """How much may wait for one partition; further publishes wait."""

    def __post_init__(self) -> None:
        """Refuse what cannot work. Errors: ValueError."""
        check_ranges(
            self,
            positive=(
                "publish_timeout",
                "request_timeout",
                "ping_timeout",
                "max_message",
                "max_unsent",
            ),
            not_negative=("start_timeout",),
        )


class KafkaBus:
    """A producer, as a service.

    ``servers``: ``host:port``, one or several separated by commas. ``topics`` are created at the
    start when they do not exist. ``tracer``: continues the traces in which messages were made.

    Example: ``KafkaBus("127.0.0.1:9092", log, topics=[Topic("things.made", partitions=4)])``.

    *Resources*: connections and tasks of the client from `start` to `stop`.
    """

    def __init__(
        self,
        servers: str,
        log: Logger,
        *,
        name: str = "kafka",
        security: KafkaSecurity = NO_SECURITY,
        topics: Sequence[Topic] = (),
        settings: KafkaBusSettings | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.name = name
        self.servers = servers
        self.security = security
        self.settings: KafkaBusSettings = settings or KafkaBusSettings()
        self._log = log
        self._tracer = tracer
        self._topics = tuple(topics)
        self._producer: Any = None  # the client has no types that a strict reader would accept
        self._opening = asyncio.Lock()
        self._started = False

    async def start(self) -> None:
        """Connect, waiting for a broker that is coming up, and ensure that the topics exist.

        Errors: UNAVAILABLE with the servers, when none comes up in time; UNAUTHENTICATED.
        """
        if self._started:
            raise RuntimeError("the queue is started already")
        self._started = True
        loop = asyncio.get_running_loop()
        until = loop.time() + within_deadline(self.settings.start_timeout)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                async with asyncio.timeout_at(until):
                    await self._open()
                    await self.ensure_topics(self._topics)
            except (Error, TimeoutError) as exc:
                error = translate(exc)
                if error.code is not Code.UNAVAILABLE or loop.time() + backoff.next >= until:
                    message = f"cannot connect to {self.servers}: {error.message}"
                    raise QueueError(error.code, message) from exc
            else:
                return
            await backoff.pause()

    async def stop(self) -> None:
        """Send what is under way and close. May be repeated, and called without a `start`."""
        self._started = False
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(within_deadline(_CLOSE_TIMEOUT)):
                await producer.flush()
        except (*_FAILURES, asyncio.InvalidStateError):
            pass  # it is the outcome of a publish, not of this
        finally:
            await _abandon(producer)

    async def ping(self) -> None:
        """A check for readiness: a broker answers. Errors: UNAVAILABLE."""
        producer = self._producer
        if producer is None:
            raise QueueError(Code.UNAVAILABLE)
        try:
            async with asyncio.timeout(within_deadline(self.settings.ping_timeout)):
                answered = await producer.client.force_metadata_update()
        except _FAILURES as exc:
            raise QueueError(Code.UNAVAILABLE) from exc
        if not answered:
            raise QueueError(Code.UNAVAILABLE)

    async def publish(self, message: Message) -> None:
        """Publish; when this returns all replicas in sync hold the message.

        Errors: UNAVAILABLE (also: there is no such topic), DEADLINE_EXCEEDED (it may be stored or
        not, or be stored later: publishing it again is safe if its consumers use an inbox),
        INVALID_ARGUMENT (topic or size).
        """
        (outcome,) = await self.publish_all([message])
        if outcome is not None:
            raise outcome

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish many, without waiting for one before the next: None for each that is stored.

        Those of one key are stored in their order, but one may fail in the middle (as for
        `publish`) and those after it be stored.
        """
        with PublishSpans(self._tracer, "kafka", messages) as spans:
            records = [_outgoing(message) for message in spans.messages]
            return spans.record(await self.send_all(records))

    async def send_all(self, records: Sequence[OutgoingRecord]) -> Sequence[Exception | None]:
        """As `publish_all`, for records that are not messages of the caller's."""
        outcomes: dict[int, Exception | None] = {}
        sent: dict[int, asyncio.Future[object]] = {}
        failure: Error = QueueError(Code.DEADLINE_EXCEEDED)
        try:
            async with asyncio.timeout(within_deadline(self.settings.publish_timeout)):
                await self._send(records, sent, outcomes)
                if sent:
                    await asyncio.wait(sent.values())
        except TimeoutError:
            pass
        except Error as exc:  # there is no producer
            failure = exc
        for index, future in sent.items():
            if future.done():
                outcomes[index] = _outcome(future)
        await self._drop_failed_producer(outcomes.values())
        return [
            outcomes[n] if n in outcomes else copy_exception(failure) for n in range(len(records))
        ]

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Create the topics that do not exist.

        Errors: UNAVAILABLE; INVALID_ARGUMENT for a name that Kafka does not take;
        PERMISSION_DENIED.
        """
        await ensure_topics(
            self.servers,
            topics,
            security=self.security,
            request_timeout=self.settings.request_timeout,
        )

    async def _send(
        self,
        records: Sequence[OutgoingRecord],
        sent: dict[int, asyncio.Future[object]],
        outcomes: dict[int, Exception | None],
    ) -> None:
        producer = await self._open()
        unknown: dict[str, Error] = {}  # looking for one takes the client seconds, so once
        for index, record in enumerate(records):
            if (
                _TOPIC_NAME.fullmatch(record.topic) is None
            ):  # the client would look for it without end
                outcomes[index] = QueueError(Code.INVALID_ARGUMENT)
                continue
            if (error := unknown.get(record.topic)) is not None:
                outcomes[index] = copy_exception(error)
                continue
            try:
                future: asyncio.Future[object] = await producer.send(
                    record.topic,
                    record.data,
                    key=record.key.encode() or None,
                    headers=record.headers,
                )
            except _FAILURES as exc:
                outcomes[index] = error = _translated(exc)
                if isinstance(exc, errors.UnknownTopicOrPartitionError):
                    unknown[record.topic] = error
            else:
                future.add_done_callback(_retrieve_exception)
                sent[index] = future

    async def _open(self) -> Any:
        """The producer, created when there is none. Errors: UNAVAILABLE; UNAUTHENTICATED."""
        async with self._opening:
            if not self._started:
                raise QueueError(Code.UNAVAILABLE)
            if self._producer is None:
                producer: Any = AIOKafkaProducer(  # type: ignore[no-untyped-call] # the client's own has no types
                    bootstrap_servers=self.servers,
                    client_id=self.name,
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=self.settings.max_message,
                    max_batch_size=self.settings.max_unsent,
                    request_timeout_ms=int(1000 * self.settings.request_timeout),
                    **self.security.options(),
                )
                try:
                    await producer.start()
                except BaseException as exc:
                    await _abandon(producer)
                    if isinstance(exc, _FAILURES):
                        raise translate(exc) from exc
                    raise
                self._producer = producer
            return self._producer

    async def _drop_failed_producer(self, outcomes: Iterable[Exception | None]) -> None:
        """Close a producer that cannot be used again, as after a gap in its sequence numbers."""
        for outcome in outcomes:
            if isinstance(outcome, Error) and outcome.code is Code.INTERNAL:
                producer, self._producer = self._producer, None
                if producer is not None:
                    self._log.warning("producer replaced", bus=self.name, error=outcome)
                    await _abandon(producer)
                return


def _outgoing(message: Message) -> OutgoingRecord:
    headers = kafka_records.to_headers(message)
    return OutgoingRecord(message.subject, message.key, message.data, headers)


def _translated(exc: Exception) -> Error:
    """The outcome for what a send raised: the client refuses some topics with a ValueError."""
    error = QueueError(Code.INVALID_ARGUMENT) if isinstance(exc, ValueError) else translate(exc)
    error.__cause__ = exc
    return error


def _outcome(future: asyncio.Future[object]) -> Exception | None:
    if future.cancelled():
        return QueueError(Code.UNAVAILABLE)
    failure = future.exception()
    return None if failure is None else _translated(failure)  # type: ignore[arg-type] # never a BaseException


def _retrieve_exception(future: asyncio.Future[object]) -> None:
    """Keep asyncio from reporting a failure that nobody waits for, after a cancelled publish."""
    if not future.cancelled():
        future.exception()


async def _abandon(producer: Any) -> None:
    """Close at once: the client's own `stop` waits until all is sent, which may be never."""
    producer._closed = True  # noqa: SLF001 - there is no other way
    sender: asyncio.Task[None] | None = producer._sender._sender_task  # noqa: SLF001 - as above
    with suppress(errors.KafkaError):
        await producer.client.close()
    if sender is not None:
        await _cancelled(sender)
    # Only now: the sender looks up what it is sending, and would end with a KeyError.
    producer._message_accumulator.fail_all(errors.ProducerClosed())  # noqa: SLF001 - as above
    with suppress(errors.KafkaError):
        await producer.client.close()  # the sender may have connected again meanwhile


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """Cancel it, and a second time if it does not end; its outcome is dropped."""
    for _ in range(2):
        task.cancel()
        await asyncio.wait([task], timeout=_CLOSE_TIMEOUT)
        if task.done():
            break
    if task.done() and not task.cancelled():
        task.exception()
