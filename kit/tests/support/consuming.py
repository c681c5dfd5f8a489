"""What the consumers' tests need: brokers, consumers of each, and a handler that records."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, Unpack

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from memory_source import MemorySource

from paceline.errors import Error
from paceline.messaging import (
    Consumer,
    ConsumerSettings,
    DeadLetter,
    DeliveryPolicy,
    Incoming,
    Message,
)
from paceline.messaging.kafka import (
    KafkaBus,
    KafkaConsumer,
    KafkaSubscription,
    Topic,
    dead_letter_topic,
)
from paceline.messaging.nats import (
    DeadLetters,
    NatsBus,
    NatsBusSettings,
    NatsConsumer,
    NatsSubscription,
    Stream,
    dead_letter_stream,
)
from paceline.testing import RecordingLog

TIMEOUT = 15.0


class Thing(msgspec.Struct, frozen=True):
    n: int


Handle = Callable[[Sequence[Incoming[Thing]]], Awaitable[Sequence[Exception | None]]]


class Settings(TypedDict, total=False):
    batch: int
    concurrency: int
    handler_timeout: float
    stop_timeout: float


def consumer_settings(
    *, max_attempts: int = 5, retry_delay: float = 0.02, **others: Unpack[Settings]
) -> ConsumerSettings:
    """Settings for tests, which do not wait for long."""
    policy = DeliveryPolicy(max_attempts, retry_delay)
    return ConsumerSettings(policy=policy, heartbeat=0.5, **others)


class Broker(Protocol):
    log: RecordingLog

    async def publish(self, name: str, data: bytes | None = None, *, key: str = "") -> None:
        """A message with this id, whose value is its number unless ``data`` are given."""
        ...

    def consumer(
        self, handler: Handle, settings: ConsumerSettings | None = None, *, ack_wait: float = 6.0
    ) -> Consumer[Thing]: ...

    async def dead(self) -> list[tuple[str, str, int]]:
        """Id, kind and attempts of each dead letter."""
        ...


def data_of(name: str) -> bytes:
    digits = "".join(filter(str.isdigit, name))
    return msgspec.json.encode(Thing(int(digits or 0)))


@dataclass
class MemoryBroker:
    log: RecordingLog = field(default_factory=RecordingLog)
    source: MemorySource = field(default_factory=MemorySource)

    async def publish(self, name: str, data: bytes | None = None, *, key: str = "") -> None:
        await self.source.publish(
            Message("things.made", data_of(name) if data is None else data, name, key)
        )

    def consumer(
        self, handler: Handle, settings: ConsumerSettings | None = None, *, ack_wait: float = 6.0
    ) -> Consumer[Thing]:
        self.source.ack_wait = ack_wait
        return Consumer(
            self.source,
            handler,
            self.log,
            type=Thing,
            settings=settings or consumer_settings(),
            extend_interval=ack_wait / 3,
            silence_timeout=15.0,
        )

    async def dead(self) -> list[tuple[str, str, int]]:
        return list(self.source.dead)


@dataclass
class NatsBroker:
    bus: NatsBus
    log: RecordingLog
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def stream(self) -> Stream:
        return Stream(f"THINGS{self.token}", (f"things{self.token}.>",))

    async def publish(self, name: str, data: bytes | None = None, *, key: str = "") -> None:
        data = data_of(name) if data is None else data
        await self.bus.publish(Message(f"things{self.token}.made", data, name, key))

    def consumer(
        self, handler: Handle, settings: ConsumerSettings | None = None, *, ack_wait: float = 6.0
    ) -> Consumer[Thing]:
        subscription = NatsSubscription(
            self.stream.name, self.stream.subjects, durable="maker", ack_wait=ack_wait
        )
        return NatsConsumer(
            self.bus,
            handler,
            self.log,
            type=Thing,
            subscription=subscription,
            settings=settings or consumer_settings(),
        )

    async def dead(self) -> list[tuple[str, str, int]]:
        letters = await DeadLetters(self.bus, stream=dead_letter_stream()).list(limit=1000)
        ours = [
            each.letter for each in letters if each.letter.consumer.startswith(self.stream.name)
        ]
        return [(letter.id, letter.kind, letter.attempts) for letter in ours]


@asynccontextmanager
async def nats_broker(url: str) -> AsyncGenerator[NatsBroker]:
    log = RecordingLog()
    bus = NatsBus(url, log, settings=NatsBusSettings(ping_interval=0.5, ping_timeout=1.0))
    await bus.start()
    broker = NatsBroker(bus, log)
    try:
        await bus.ensure_stream(broker.stream)
        yield broker
    finally:
        await bus.stop()


@dataclass
class KafkaBroker:
    bus: KafkaBus
    log: RecordingLog
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def topic(self) -> Topic:
        return Topic(f"things{self.token}.made", partitions=2)

    @property
    def group(self) -> str:
        return f"maker{self.token}"

    async def publish(self, name: str, data: bytes | None = None, *, key: str = "") -> None:
        data = data_of(name) if data is None else data
        await self.bus.publish(Message(self.topic.name, data, name, key))

    def consumer(
        self, handler: Handle, settings: ConsumerSettings | None = None, *, ack_wait: float = 6.0
    ) -> Consumer[Thing]:
        return KafkaConsumer(
            self.bus,
            handler,
            self.log,
            type=Thing,
            subscription=KafkaSubscription(
                (self.topic.name,), self.group, session_timeout=ack_wait
            ),
            settings=settings or consumer_settings(),
        )

    async def dead(self) -> list[tuple[str, str, int]]:
        letters = await dead_letters(self.bus.servers, self.group)
        return [(letter.id, letter.kind, letter.attempts) for letter in letters]


async def dead_letters(servers: str, group: str) -> list[DeadLetter]:
    """What is in the topic of dead letters now."""
    reader: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call] # the client's own has no types
        bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await reader.start()
    try:
        partition = TopicPartition(dead_letter_topic(group), 0)
        reader.assign([partition])
        end: int = (await reader.end_offsets([partition]))[partition]
        records: list[Any] = []
        while len(records) < end:
            found = await reader.getmany(timeout_ms=1000)
            records += [record for each in found.values() for record in each]
    finally:
        await reader.stop()
    return [
        DeadLetter.from_headers(
            {name: value.decode() for name, value in record.headers}, record.value
        )
        for record in records
    ]


@asynccontextmanager
async def kafka_broker(servers: str) -> AsyncGenerator[KafkaBroker]:
    log = RecordingLog()
    bus = KafkaBus(servers, log)
    await bus.start()
    broker = KafkaBroker(bus, log)
    try:
        await bus.ensure_topics([broker.topic])
        yield broker
    finally:
        await bus.stop()


@asynccontextmanager
async def memory_broker() -> AsyncGenerator[MemoryBroker]:
    broker = MemoryBroker()
    try:
        yield broker
    finally:
        broker.source.cancel_timers()


@asynccontextmanager
async def consuming(consumer: Consumer[Thing]) -> AsyncGenerator[Consumer[Thing]]:
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@dataclass
class RecordingHandler:
    """A handler that records what it gets.

    ``outcome``: of each message; ``before``: awaited with each batch first.
    """

    outcome: Callable[[Incoming[Thing]], Exception | None] = lambda item: None
    before: Callable[[Sequence[Incoming[Thing]]], Awaitable[None]] | None = None
    seen: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    done: list[str] = field(default_factory=list[str])
    sizes: list[int] = field(default_factory=list[int])
    _called: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, items: Sequence[Incoming[Thing]]) -> Sequence[Exception | None]:
        self.seen += [(item.id, item.attempt) for item in items]
        self.sizes.append(len(items))
        self._called.set()
        if self.before is not None:
            await self.before(items)
        outcomes = [self.outcome(item) for item in items]
        self.done += [
            item.id for item, outcome in zip(items, outcomes, strict=True) if outcome is None
        ]
        self._called.set()
        return outcomes

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is true, looking after each call."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._called.clear()
                await self._called.wait()


async def passes(check: Coroutine[object, object, None]) -> bool:
    """Whether it raises no `Error`."""
    try:
        await check
    except Error:
        return False
    return True


async def fails(check: Coroutine[object, object, None]) -> bool:
    """Whether it raises an `Error`."""
    return not await passes(check)


async def becomes(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is true, looking again and again: for what sets no event here."""
    async with asyncio.timeout(TIMEOUT):
        while not await condition():  # noqa: ASYNC110 - the event is elsewhere
            await asyncio.sleep(0.01)


async def dead_lettered(consumer: Consumer[Thing], count: int) -> None:
    """Wait until the consumer has stored so many dead letters."""

    async def condition() -> bool:
        return consumer.stats.dead_lettered == count

    await becomes(condition)
