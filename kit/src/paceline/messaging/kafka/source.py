"""A consumer group as a `Source`: offsets follow the effects, what failed goes through a topic.

Kafka knows one number for each partition, and no delay. So a message that is to be tried again is
written to the topic ``retry.<group>``, with the attempt and the moment before which it must not be
handled, and only then counts as settled here; read back, it is held until it is due. A dead letter
goes to ``dead.<group>`` likewise. What cannot be written now is held here, unsettled. Invariant:
nothing is settled that is not either handled or written elsewhere, and ``kafka_offsets`` commits
only what lies behind. A process that dies, or loses a partition, costs redeliveries, which carry
the same attempt. Made by ``kafka_consumer``.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.messaging.dead_letter import DeadLetter, kind_of, reason_of, to_headers
from paceline.messaging.delivery import Delivery, Disposition, Settlement
from paceline.messaging.kafka import records as kafka_records
from paceline.messaging.kafka.bus import KafkaBus, Outgoing
from paceline.messaging.kafka.offsets import Offsets
from paceline.messaging.kafka.reader import KafkaReader, Place
from paceline.messaging.kafka.topics import Topic
from paceline.messaging.nats import QueueError

_PATIENCE: Final = 5.0
_MAX_FETCH_BYTES: Final = 16 << 20
_AGAIN: Final = 5.0
_OVERHEAD: Final = 512  # of a record and its batch, generously


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a delivery came from."""

    offsets: Offsets
    offset: int


@dataclass(frozen=True, slots=True)
class _Held:
    """A delivery that is not due. ``number`` decides between equals."""

    due: float
    number: int
    delivery: Delivery
    origin: _Origin

    def __lt__(self, other: "_Held") -> bool:
        return (self.due, self.number) < (other.due, other.number)


class KafkaSource:
    """The group ``group`` on ``topics``. Times are in seconds.

    ``heartbeat``: the longest silence before the broker is asked for a sign of life.
    ``session_timeout``: see `KafkaReader`. ``max_held``: messages that wait until they are due; at
    half of it no more are read from the topic of those that failed, at all of it none at all.
    ``replicas``: of the topics that it makes for itself; ``retry_partitions``: of one of them.

    *Resources*: a member of the group from the first `fetch` to `close`.
    """

    def __init__(
        self,
        bus: KafkaBus,
        log: Logger,
        *,
        topics: Sequence[str],
        group: str,
        heartbeat: float = 5.0,
        session_timeout: float = 10.0,
        max_held: int = 10_000,
        replicas: int = 1,
        retry_partitions: int = 1,
    ) -> None:
        self._bus = bus
        self._log = log
        self._topics = topics
        self._group = group
        self._retry_topic, self._dead_topic = retry_topic(group), dead_topic(group)
        self._made = (
            Topic(self._retry_topic, retry_partitions, replicas),
            Topic(self._dead_topic, 1, replicas, {"retention.ms": "-1"}),
        )
        self._heartbeat = heartbeat
        self._session_timeout = session_timeout
        self._max_held = max_held
        self._reader: KafkaReader | None = None
        self._heard_at = 0.0
        self._offsets: dict[Place, Offsets] = {}
        self._origins: dict[Delivery, _Origin] = {}
        self._held: list[_Held] = []
        self._last = 0
        self._committing = asyncio.Lock()

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """See `Source`. Errors: UNAVAILABLE: no broker, no topic, or no agreement in the group."""
        reader = self._reader
        if reader is None:
            await self._open()
            return []  # we are a member: no need to wait for a word
        if due := self._due(limit):
            return due
        if len(self._held) >= self._max_held:
            await asyncio.sleep(self._wait())
            await self._check(reader)
            return self._due(limit)
        full = len(self._held) >= self._max_held // 2
        try:
            records = await reader.poll(
                limit,
                self._wait(),
                patience=_PATIENCE,
                without=self._retry_topic if full else None,
            )
            if records:
                self._heard_at = _now()
            else:
                await self._check(reader)
        except Error as exc:
            if exc.code is not Code.UNAVAILABLE:
                await self._leave()  # the client will not recover from it
            raise QueueError(Code.UNAVAILABLE) from exc
        for record in records:
            self._take(record)
        return self._due(limit)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """See `Source`. What is said of a partition that is no longer ours counts for nothing."""
        written: list[tuple[Settlement, _Origin, Outgoing]] = []
        for each in settlements:
            origin = self._origins.pop(each.delivery, None)
            if origin is None or origin.offsets.lost:
                continue
            if each.verdict is Disposition.ACK:
                origin.offsets.settle(origin.offset)
            elif each.verdict is Disposition.RETURN:
                self._hold(_now(), each.delivery, origin)
            else:
                retried = each.verdict is Disposition.RETRY
                record = self._again(each) if retried else self._letter(each)
                written.append((each, origin, record))
        if written:
            await self._write(written)
        await self._commit()

    async def extend(self, deliveries: Sequence[Delivery]) -> None:
        """See `Source`: the client says it for all of them, as long as our loop runs."""

    async def close(self) -> None:
        """See `Source`. What was not settled goes to who has its partition next."""
        await self._leave()

    async def _open(self) -> None:
        await self._bus.ensure_topics(self._made)
        reader = KafkaReader(
            self._bus.servers,
            [*self._topics, self._retry_topic],
            self._group,
            self._revoked,
            access=self._bus.access,
            request_timeout=self._bus.request_timeout,
            session_timeout=self._session_timeout,
            max_bytes=_MAX_FETCH_BYTES,
        )
        try:
            await reader.open(self._session_timeout + _PATIENCE)
        except BaseException:
            await reader.close()
            raise
        self._reader, self._heard_at = reader, _now()

    async def _leave(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(Error):
                await self._commit_with(reader)
            await reader.close()
        self._revoked()
        self._origins.clear()

    def _revoked(self) -> None:
        """No partition is ours, until the group has come to terms anew."""
        for offsets in self._offsets.values():
            offsets.lost = True
        self._offsets.clear()
        self._held = [each for each in self._held if not each.origin.offsets.lost]
        heapify(self._held)

    async def _check(self, reader: KafkaReader) -> None:
        if _now() - self._heard_at >= self._heartbeat:
            await reader.check(_PATIENCE)
            self._heard_at = _now()

    def _take(self, record: kafka_records.Record) -> None:
        offsets = self._offsets.setdefault((record.topic, record.partition), Offsets())
        offsets.take(record.offset)
        now = time.time()
        found = kafka_records.received(record, retry_topic=self._retry_topic, now=now)
        wait = max(0.0, found.not_before - now)
        self._hold(_now() + wait, found.delivery, _Origin(offsets, record.offset))

    def _hold(self, due: float, delivery: Delivery, origin: _Origin) -> None:
        self._last += 1
        heappush(self._held, _Held(due, self._last, delivery, origin))

    def _due(self, limit: int) -> Sequence[Delivery]:
        found: list[Delivery] = []
        now = _now()
        while self._held and self._held[0].due <= now and len(found) < limit:
            held = heappop(self._held)
            self._origins[held.delivery] = held.origin
            found.append(held.delivery)
        return found

    def _wait(self) -> float:
        if not self._held:
            return self._heartbeat
        return min(self._heartbeat, max(0.001, self._held[0].due - _now()))

    async def _write(self, written: Sequence[tuple[Settlement, _Origin, Outgoing]]) -> None:
        outcomes = await self._bus.send_all([record for _, _, record in written])
        for (each, origin, _), outcome in zip(written, outcomes, strict=True):
            if outcome is None:
                origin.offsets.settle(origin.offset)
                continue
            if each.verdict is Disposition.RETRY:
                attempt = each.delivery.attempt + 1
                again = replace(each.delivery, attempt=attempt, deliveries=attempt)
                self._log.warning("retried from memory", id=again.id, error=outcome)
                due = _now() + each.delay
            else:
                again, due = replace(each.delivery), _now() + _AGAIN
                self._log.error("cannot bury", id=again.id, error=outcome)
            if not origin.offsets.lost:
                self._hold(due, again, origin)

    async def _commit(self) -> None:
        if self._reader is None:
            return
        try:
            await self._commit_with(self._reader)
        except Error as exc:
            if exc.code is not Code.ABORTED:  # then it comes again, to us or to another
                raise

    async def _commit_with(self, reader: KafkaReader) -> None:
        async with self._committing:  # or an older number might come last
            ours = dict(self._offsets)
            found = {place: offsets.to_commit() for place, offsets in ours.items()}
            news = {place: offset for place, offset in found.items() if offset is not None}
            if not news:
                return
            await reader.commit(news, _PATIENCE)
            for place, offset in news.items():
                ours[place].committed(offset)

    def _again(self, settlement: Settlement) -> Outgoing:
        delivery = settlement.delivery
        not_before = time.time() + settlement.delay
        headers = kafka_records.to_retry_headers(delivery, delivery.attempt + 1, not_before)
        return Outgoing(self._retry_topic, delivery.key, delivery.data, headers)

    def _letter(self, settlement: Settlement) -> Outgoing:
        delivery = settlement.delivery
        error = settlement.error or QueueError(Code.UNKNOWN)
        letter = DeadLetter(
            id=delivery.id,
            subject=delivery.subject,
            data=delivery.data,
            consumer=self._group,
            attempts=delivery.attempt,
            kind=kind_of(error),
            reason=reason_of(error),
            died_at=datetime.now(UTC),
            key=delivery.key,
            headers=delivery.headers,
        )
        record = self._record(letter)
        if _size_of(record) > self._bus.max_message:
            cut = msgspec.structs.replace(letter, data=b"", truncated=len(delivery.data))
            record = self._record(cut)
            if _size_of(record) > self._bus.max_message:
                record = self._record(msgspec.structs.replace(cut, headers={}, key=""))
        return record

    def _record(self, letter: DeadLetter) -> Outgoing:
        headers = [(name, text.encode()) for name, text in to_headers(letter).items()]
        return Outgoing(self._dead_topic, letter.key, letter.data, headers)


def retry_topic(group: str) -> str:
    """Where messages wait to be tried again."""
    return f"retry.{group}"


def dead_topic(group: str) -> str:
    """Where dead letters are kept."""
    return f"dead.{group}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _size_of(record: Outgoing) -> int:
    headers = sum(len(name) + len(value) + 8 for name, value in record.headers)
    return _OVERHEAD + len(record.key.encode()) + len(record.data) + headers
