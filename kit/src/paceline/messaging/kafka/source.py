"""A consumer group as a `MessageSource`: offsets are committed after the effects.

Kafka knows one number for each partition, and no delay. So a message that is to be tried again is
written to the topic ``retry.<group>``, with its attempt and the time before which it must not be
handled, and only then counts as settled; read back, it is delayed until it is due. A dead letter
goes to ``dead.<group>`` likewise. What cannot be written now stays here, unsettled. Invariant: what
is settled was either handled or written elsewhere, and only what lies below the lowest unsettled
offset is committed. A process that dies, or loses a partition, costs redeliveries, which have the
same attempt.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import Final

from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.dead_letter import DeadLetter
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.errors import QueueError
from paceline.messaging.kafka import records as kafka_records
from paceline.messaging.kafka.bus import KafkaBus, OutgoingRecord
from paceline.messaging.kafka.offsets import OffsetTracker
from paceline.messaging.kafka.reader import KafkaReader, Partition
from paceline.messaging.kafka.topics import Topic

_TIMEOUT: Final = 5.0
_MAX_FETCH_BYTES: Final = 16 << 20
_DEAD_LETTER_RETRY_DELAY: Final = 5.0
_OVERHEAD: Final = 512  # of a record and its batch, generously


@dataclass(frozen=True, slots=True)
class KafkaSubscription:
    """What is consumed: ``topics``, as a member of ``group``."""

    topics: tuple[str, ...]
    group: str
    session_timeout: float = 10.0
    """Seconds of silence after which this process's partitions are assigned to others."""
    max_delayed: int = 10_000
    """Messages that wait in memory until they are due. At half of it the retry topic is not read
    any more, at all of it nothing is."""
    replicas: int = 1
    """Of the topics that the consumer creates: retries and dead letters."""
    retry_partitions: int = 1
    """Partitions of the retry topic."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """The offset that a delivery came from."""

    offsets: OffsetTracker
    offset: int


@dataclass(frozen=True, slots=True)
class _Delayed:
    """A delivery that is not due. ``number`` keeps those that are due together in order."""

    due: float
    number: int
    delivery: Delivery
    origin: _Origin

    def __lt__(self, other: "_Delayed") -> bool:
        return (self.due, self.number) < (other.due, other.number)


class KafkaSource:
    """The consumer group that ``subscription`` names.

    ``heartbeat``: after how many seconds of silence the brokers are asked for an answer.

    *Resources*: a member of the group from the first `fetch` to `close`.
    """

    def __init__(
        self, bus: KafkaBus, log: Logger, subscription: KafkaSubscription, *, heartbeat: float
    ) -> None:
        self._bus = bus
        self._log = log
        self._subscription = subscription
        self._heartbeat = heartbeat
        self._retry_topic = f"retry.{subscription.group}"
        self._dead_topic = dead_letter_topic(subscription.group)
        self._reader: KafkaReader | None = None
        self._answered_at = 0.0
        self._offsets: dict[Partition, OffsetTracker] = {}
        self._origins: dict[Delivery, _Origin] = {}
        self._delayed: list[_Delayed] = []
        self._last_number = 0
        self._committing = asyncio.Lock()

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """See `MessageSource`. Errors: UNAVAILABLE: no broker, no topic, or a long rebalance."""
        reader = self._reader
        if reader is None:
            await self._open()
            return []  # we are a member of the group: a sign of life
        if due := self._due(limit):
            return due
        most = self._subscription.max_delayed
        if len(self._delayed) >= most:
            await asyncio.sleep(self._next_wait())
            await self._check(reader)
            return self._due(limit)
        half_full = len(self._delayed) >= most // 2
        try:
            records = await reader.poll(
                limit,
                self._next_wait(),
                grace=_TIMEOUT,
                exclude=self._retry_topic if half_full else None,
            )
            if records:
                self._answered_at = _now()
            else:
                await self._check(reader)
        except Error as exc:
            if exc.code is not Code.UNAVAILABLE:
                await self._leave()  # the client does not recover from it
            raise QueueError(Code.UNAVAILABLE) from exc
        for record in records:
            self._add(record)
        return self._due(limit)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `MessageSource`. Deliveries of a partition that was revoked are ignored."""
        written: list[tuple[Settlement, _Origin, OutgoingRecord]] = []
        for each in settlements:
            origin = self._origins.pop(each.delivery, None)
            if origin is None or origin.offsets.revoked:
                continue
            if each.disposition is Disposition.ACK:
                origin.offsets.settle(origin.offset)
            elif each.disposition is Disposition.REQUEUE:
                self._delay(_now(), each.delivery, origin)
            else:
                retried = each.disposition is Disposition.RETRY
                record = self._retry_record(each) if retried else self._dead_record(each)
                written.append((each, origin, record))
        if written:
            await self._write(written)
        await self._commit()

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """See `MessageSource`: the client's own heartbeats do that while the loop runs."""

    async def close(self) -> None:
        """See `MessageSource`. What was not settled goes to the next owner of its partition."""
        await self._leave()

    async def _open(self) -> None:
        subscription, settings = self._subscription, self._bus.settings
        await self._bus.ensure_topics(
            [
                Topic(self._retry_topic, subscription.retry_partitions, subscription.replicas),
                Topic(self._dead_topic, 1, subscription.replicas, {"retention.ms": "-1"}),
            ]
        )
        reader = KafkaReader(
            self._bus.servers,
            [*subscription.topics, self._retry_topic],
            subscription.group,
            self._on_revoked,
            security=self._bus.security,
            request_timeout=settings.request_timeout,
            session_timeout=subscription.session_timeout,
            max_bytes=_MAX_FETCH_BYTES,
        )
        try:
            await reader.open(subscription.session_timeout + _TIMEOUT)
        except BaseException:
            await reader.close()
            raise
        self._reader, self._answered_at = reader, _now()

    async def _leave(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(Error):
                await self._commit_with(reader)
            await reader.close()
        self._on_revoked()
        self._origins.clear()

    def _on_revoked(self) -> None:
        """No partition is assigned to this process until the group's next rebalance is done."""
        for offsets in self._offsets.values():
            offsets.revoked = True
        self._offsets.clear()
        self._delayed = [each for each in self._delayed if not each.origin.offsets.revoked]
        heapify(self._delayed)

    async def _check(self, reader: KafkaReader) -> None:
        if _now() - self._answered_at >= self._heartbeat:
            await reader.check(_TIMEOUT)
            self._answered_at = _now()

    def _add(self, record: kafka_records.Record) -> None:
        offsets = self._offsets.setdefault((record.topic, record.partition), OffsetTracker())
        offsets.add(record.offset)
        now = time.time()
        parsed = kafka_records.parse_record(record, retry_topic=self._retry_topic, now=now)
        wait = max(0.0, parsed.not_before - now)
        self._delay(_now() + wait, parsed.delivery, _Origin(offsets, record.offset))

    def _delay(self, due: float, delivery: Delivery, origin: _Origin) -> None:
        self._last_number += 1
        heappush(self._delayed, _Delayed(due, self._last_number, delivery, origin))

    def _due(self, limit: int) -> Sequence[Delivery]:
        found: list[Delivery] = []
        now = _now()
        while self._delayed and self._delayed[0].due <= now and len(found) < limit:
            delayed = heappop(self._delayed)
            self._origins[delayed.delivery] = delayed.origin
            found.append(delayed.delivery)
        return found

    def _next_wait(self) -> float:
        if not self._delayed:
            return self._heartbeat
        return min(self._heartbeat, max(0.001, self._delayed[0].due - _now()))

    async def _write(self, written: Sequence[tuple[Settlement, _Origin, OutgoingRecord]]) -> None:
        outcomes = await self._bus.send_all([record for _, _, record in written])
        for (each, origin, _), outcome in zip(written, outcomes, strict=True):
            if outcome is None:
                origin.offsets.settle(origin.offset)
                continue
            if each.disposition is Disposition.RETRY:
                attempt = each.delivery.attempt + 1
                again = replace(each.delivery, attempt=attempt, deliveries=attempt)
                self._log.warning("retried from memory", id=again.id, error=outcome)
                due = _now() + each.delay
            else:
                again, due = replace(each.delivery), _now() + _DEAD_LETTER_RETRY_DELAY
                self._log.error("cannot dead-letter", id=again.id, error=outcome)
            if not origin.offsets.revoked:
                self._delay(due, again, origin)

    async def _commit(self) -> None:
        if self._reader is None:
            return
        try:
            await self._commit_with(self._reader)
        except Error as exc:
            if exc.code is not Code.ABORTED:  # then the partition's new owner gets them again
                raise

    async def _commit_with(self, reader: KafkaReader) -> None:
        async with self._committing:  # or a lower offset might be committed last
            trackers = dict(self._offsets)
            offsets = {partition: each.committable() for partition, each in trackers.items()}
            changed = {each: offset for each, offset in offsets.items() if offset is not None}
            if not changed:
                return
            await reader.commit(changed, _TIMEOUT)
            for partition, offset in changed.items():
                trackers[partition].note_committed(offset)

    def _retry_record(self, settlement: Settlement) -> OutgoingRecord:
        delivery = settlement.delivery
        not_before = time.time() + settlement.delay
        headers = kafka_records.to_retry_headers(delivery, delivery.attempt + 1, not_before)
        return OutgoingRecord(self._retry_topic, delivery.key, delivery.data, headers)

    def _dead_record(self, settlement: Settlement) -> OutgoingRecord:
        def fits(letter: DeadLetter) -> bool:
            return _size_of(self._letter_record(letter)) <= self._bus.settings.max_message

        letter = DeadLetter.of(settlement, self._subscription.group)
        return self._letter_record(letter.shortened(fits))

    def _letter_record(self, letter: DeadLetter) -> OutgoingRecord:
        headers = [(name, text.encode()) for name, text in letter.to_headers().items()]
        return OutgoingRecord(self._dead_topic, letter.key, letter.data, headers)


def dead_letter_topic(group: str) -> str:
    """The topic of a group's dead letters."""
    return f"dead.{group}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _size_of(record: OutgoingRecord) -> int:
    headers = sum(len(name) + len(value) + 8 for name, value in record.headers)
    return _OVERHEAD + len(record.key.encode()) + len(record.data) + headers
