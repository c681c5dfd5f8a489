"""Kafka: one idempotent producer at a time, and publishing with an acknowledgement of all replicas.

Invariant: a message counts as published when every replica in sync has it. Kafka drops what its
client sends twice and nothing else: a message that we publish again under its id is stored again,
and the inbox of who consumes it makes that harmless. Messages of one key go to one partition, so
they keep their order. The subject is the topic. Needs the extra ``paceline[kafka]``, which is why
``paceline.messaging`` does not import this.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors

from paceline.concurrency import remaining
from paceline.errors import Code, Error, copied
from paceline.log import Logger
from paceline.messaging.kafka import records as kafka_records
from paceline.messaging.kafka.errors import translate
from paceline.messaging.kafka.security import OPEN, KafkaAccess
from paceline.messaging.kafka.topics import Topic, ensure_topics
from paceline.messaging.message import Message
from paceline.messaging.nats import QueueError
from paceline.messaging.spans import Sending
from paceline.trace import Tracer

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_CLOSE_TIMEOUT: Final = 5.0
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_FAILURES: Final = (errors.KafkaError, errors.IllegalOperation, OSError, TimeoutError, ValueError)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be sent."""

    topic: str
    key: str
    data: bytes
    headers: kafka_records.Headers


class KafkaBus:
    """A producer, as a service. All times are in seconds.

    ``servers``: ``host:port``, one or several by commas. ``access``: TLS and a login. ``topics``
    are made at the start when they are not there. ``publish_timeout``: the most a publish may take,
    an outage included.
    ``max_message``: in bytes, headers included. ``max_unsent``: bytes that may wait for one
    partition; who publishes more waits.

    *Resources*: connections and tasks of the client from `start` to `stop`.
    """

    def __init__(
        self,
        servers: str,
        log: Logger,
        *,
        name: str = "kafka",
        access: KafkaAccess = OPEN,
        topics: Sequence[Topic] = (),
        start_timeout: float = 10.0,
        publish_timeout: float = 15.0,
        request_timeout: float = 10.0,
        ping_timeout: float = 5.0,
        max_message: int = 1 << 20,
        max_unsent: int = 256 << 10,
        tracer: Tracer | None = None,
    ) -> None:
        self.name = name
        self.servers = servers
        self.access = access
        self.max_message = max_message
        self.request_timeout = request_timeout
        self._log = log
        self._tracer = tracer
        self._topics = tuple(topics)
        self._start_timeout = start_timeout
        self._publish_timeout = publish_timeout
        self._ping_timeout = ping_timeout
        self._max_unsent = max_unsent
        self._producer: Any = None  # the client has no types that a strict reader would accept
        self._opening = asyncio.Lock()
        self._started = False

    async def start(self) -> None:
        """Connect, waiting for a broker that is coming up, and see that the topics are there.

        Errors: UNAVAILABLE with the servers, when none comes up in time; UNAUTHENTICATED.
        """
        if self._started:
            raise RuntimeError("the queue is started already")
        self._started = True
        loop = asyncio.get_running_loop()
        until = loop.time() + _within(self._start_timeout)
        pause = _FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout_at(until):
                    await self._open()
                    await self.ensure_topics(self._topics)
            except (Error, TimeoutError) as exc:
                error = translate(exc)
                if error.code is not Code.UNAVAILABLE or loop.time() + pause >= until:
                    message = f"cannot connect to {self.servers}: {error.message}"
                    raise QueueError(error.code, message) from exc
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """Send what is left and close. May be repeated, and called without a `start`."""
        self._started = False
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(_within(_CLOSE_TIMEOUT)):
                await producer.flush()
        except (*_FAILURES, asyncio.InvalidStateError):
            pass  # whoever published it has been told already, or will be now
        finally:
            await _abandon(producer)

    async def ping(self) -> None:
        """For readiness: a sign of life from a broker. Errors: UNAVAILABLE."""
        producer = self._producer
        if producer is None:
            raise QueueError(Code.UNAVAILABLE)
        try:
            async with asyncio.timeout(_within(self._ping_timeout)):
                alive = await producer.client.force_metadata_update()
        except _FAILURES as exc:
            raise QueueError(Code.UNAVAILABLE) from exc
        if not alive:
            raise QueueError(Code.UNAVAILABLE)

    async def publish(self, message: Message) -> None:
        """Publish; when this returns all replicas in sync hold the message.

        Errors: UNAVAILABLE (also: there is no such topic), DEADLINE_EXCEEDED (it may be stored or
        not, or be stored yet: sending it again is safe for who has an inbox), INVALID_ARGUMENT
        (topic or size).
        """
        (outcome,) = await self.publish_all([message])
        if outcome is not None:
            raise outcome

    async def publish_all(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish many, without waiting for one before the next: None for each that is stored.

        Those of one key are stored in their order, but one may fail in the middle (as for
        `publish`) and those after it be stored.
        """
        with Sending(self._tracer, "kafka", messages) as sending:
            records = [_outgoing(message) for message in sending.messages]
            return sending.told(await self.send_all(records))

    async def send_all(self, records: Sequence[Outgoing]) -> Sequence[Exception | None]:
        """As `publish_all`, for records that are not a message as it was published."""
        outcomes: dict[int, Exception | None] = {}
        sent: dict[int, asyncio.Future[object]] = {}
        late: Error = QueueError(Code.DEADLINE_EXCEEDED)
        try:
            async with asyncio.timeout(_within(self._publish_timeout)):
                await self._send(records, sent, outcomes)
                if sent:
                    await asyncio.wait(sent.values())
        except TimeoutError:
            pass
        except Error as exc:  # there is no producer
            late = exc
        for number, future in sent.items():
            if future.done():
                outcomes[number] = _outcome(future)
        await self._judge(outcomes.values())
        return [outcomes[n] if n in outcomes else copied(late) for n in range(len(records))]

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Make the topics that are not there. Errors: see `kafka_topics`."""
        await ensure_topics(
            self.servers, topics, access=self.access, request_timeout=self.request_timeout
        )

    async def _send(
        self,
        records: Sequence[Outgoing],
        sent: dict[int, asyncio.Future[object]],
        outcomes: dict[int, Exception | None],
    ) -> None:
        producer = await self._open()
        unknown: dict[str, Error] = {}  # looked for once, which takes the client seconds
        for number, record in enumerate(records):
            if _TOPIC.fullmatch(record.topic) is None:  # the client would look for it for ever
                outcomes[number] = QueueError(Code.INVALID_ARGUMENT)
                continue
            if (error := unknown.get(record.topic)) is not None:
                outcomes[number] = copied(error)
                continue
            try:
                future: asyncio.Future[object] = await producer.send(
                    record.topic,
                    record.data,
                    key=record.key.encode() or None,
                    headers=record.headers,
                )
            except _FAILURES as exc:
                outcomes[number] = failure = _translated(exc)
                if isinstance(exc, errors.UnknownTopicOrPartitionError):
                    unknown[record.topic] = failure
            else:
                future.add_done_callback(_heard)
                sent[number] = future

    async def _open(self) -> Any:
        """The producer, made when there is none. Errors: UNAVAILABLE; UNAUTHENTICATED."""
        async with self._opening:
            if not self._started:
                raise QueueError(Code.UNAVAILABLE)
            if self._producer is None:
                producer: Any = AIOKafkaProducer(  # type: ignore[no-untyped-call] # the client's own has no types
                    bootstrap_servers=self.servers,
                    client_id=self.name,
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=self.max_message,
                    max_batch_size=self._max_unsent,
                    request_timeout_ms=int(1000 * self.request_timeout),
                    **self.access.options(),
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

    async def _judge(self, outcomes: Iterable[Exception | None]) -> None:
        """Part with a producer that has failed for good, as after a gap in its numbers."""
        for outcome in outcomes:
            if isinstance(outcome, Error) and outcome.code is Code.INTERNAL:
                producer, self._producer = self._producer, None
                if producer is not None:
                    self._log.warning("producer given up", bus=self.name, error=outcome)
                    await _abandon(producer)
                return


def _outgoing(message: Message) -> Outgoing:
    headers = kafka_records.to_headers(message)
    return Outgoing(message.subject, message.key, message.data, headers)


def _translated(exc: Exception) -> Error:
    """The outcome for what a send raised: the client refuses odd topics with a ValueError."""
    error = QueueError(Code.INVALID_ARGUMENT) if isinstance(exc, ValueError) else translate(exc)
    error.__cause__ = exc
    return error


def _outcome(future: asyncio.Future[object]) -> Exception | None:
    if future.cancelled():
        return QueueError(Code.UNAVAILABLE)
    failure = future.exception()
    return None if failure is None else _translated(failure)  # type: ignore[arg-type] # never a BaseException


def _heard(future: asyncio.Future[object]) -> None:
    """Whoever waited may have gone: then nobody else asks for the failure."""
    if not future.cancelled():
        future.exception()


async def _abandon(producer: Any) -> None:
    """Close at once: the client's own way waits until all is sent, which may be never."""
    producer._closed = True  # noqa: SLF001 - there is no other way
    sender: asyncio.Task[None] | None = producer._sender._sender_task  # noqa: SLF001 - as above
    with suppress(errors.KafkaError):
        await producer.client.close()
    if sender is not None:
        await _ended(sender)
    # Not before: what is being sent would miss what was to be sent, and end with a KeyError.
    producer._message_accumulator.fail_all(errors.ProducerClosed())  # noqa: SLF001 - as above
    with suppress(errors.KafkaError):
        await producer.client.close()  # the sender may have connected again meanwhile


async def _ended(task: "asyncio.Task[None]") -> None:
    """Cancel it, and again if it holds on to what does not end; its outcome is nobody's."""
    for _ in range(2):
        task.cancel()
        await asyncio.wait([task], timeout=_CLOSE_TIMEOUT)
        if task.done():
            break
    if task.done() and not task.cancelled():
        task.exception()


def _within(seconds: float) -> float:
    left = remaining()
    return seconds if left is None else min(seconds, left)
